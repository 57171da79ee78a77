// SPDX-License-Identifier: Apache-2.0
#include "tensor/spec_form.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

float number(const Attrs& attrs, const char* name, double fallback) {
  return static_cast<float>(attrs.number(name, fallback));
}

/// Rows are samples, columns all sizes behind them.
void set_samples(const TensorType& type, KernelForm& numbers) {
  numbers.rows = type.shape.rank() == 0 ? 1 : type.shape[0];
  numbers.cols = numbers.rows == 0 ? 0 : type.shape.numel() / numbers.rows;
}

/// Input 0 [B, ..., n] as B samples of `inner` rows of n numbers.
void set_label_rows(const KernelSpec& spec, SpecForm& form) {
  const Shape& shape = spec.inputs[0].shape;
  KernelForm& numbers = form.numbers;
  numbers.rows = shape[0];
  numbers.cols = shape.last();
  numbers.inner = shape.without_front().numel() / numbers.cols;
  numbers.ignored = static_cast<std::int32_t>(spec.attrs.integer("ignore_index", INT32_MIN));
  for (const double weight : spec.attrs.numbers("class_weights")) {
    form.class_weights.push_back(static_cast<float>(weight));
  }
}

}  // namespace

bool all_f32(std::span<const TensorType> types) {
  return std::all_of(types.begin(), types.end(),
                     [](const TensorType& type) { return type.dtype == DType::f32; });
}

bool all_f32(const KernelSpec& spec) { return all_f32(spec.inputs) && all_f32(spec.outputs); }

Activation activation_of(const Attrs& attrs) {
  static constexpr std::array<std::pair<std::string_view, Activation>, 6> kNames{{
      {"leaky_relu", Activation::leaky_relu},
      {"none", Activation::none},
      {"relu", Activation::relu},
      {"sigmoid", Activation::sigmoid},
      {"softplus", Activation::softplus},
      {"tanh", Activation::tanh},
  }};
  const std::string name = attrs.word("activation", "none");
  const auto* found = std::find_if(kNames.begin(), kNames.end(),
                                   [&](const auto& entry) { return entry.first == name; });
  DLT_CHECK(found != kNames.end(), cat("activation ", name));
  return found->second;
}

namespace forms {

bool pointwise(const KernelSpec& spec, SpecForm& form) {
  KernelForm& numbers = form.numbers;
  numbers.cols = spec.outputs[0].shape.numel();
  numbers.p0 = number(spec.attrs, "alpha", 0.01);
  numbers.tanh_gelu = spec.attrs.word("approximate", "none") == "tanh";
  return all_f32(spec);
}

bool scaling(const KernelSpec& spec, SpecForm& form) {
  form.numbers.cols = spec.outputs[0].shape.numel();
  form.numbers.p0 = number(spec.attrs, "factor", 1.0);
  form.numbers.p1 = number(spec.attrs, "offset", 0.0);
  return all_f32(spec);
}

bool constant(const KernelSpec& spec, SpecForm& form) {
  form.numbers.cols = spec.outputs[0].shape.numel();
  form.numbers.p0 = number(spec.attrs, "value", 0.0);
  return all_f32(spec);
}

bool matrix(const KernelSpec& spec, SpecForm& form) {
  form.numbers.cols = spec.inputs[0].shape.last();
  form.numbers.rows = form.numbers.cols == 0 ? 0 : spec.inputs[0].shape.numel() / form.numbers.cols;
  form.numbers.activation = activation_of(spec.attrs);
  form.numbers.p0 = number(spec.attrs, "alpha", 0.01);
  return all_f32(spec);
}

bool samples(const KernelSpec& spec, SpecForm& form) {
  set_samples(spec.inputs[0], form.numbers);
  return all_f32(spec);
}

bool sample_loss(const KernelSpec& spec, SpecForm& form) {
  set_samples(spec.inputs[0], form.numbers);
  form.numbers.p0 = number(spec.attrs, "label_smoothing", 0.0);
  form.numbers.inner = form.numbers.cols;
  return all_f32(spec);
}

bool huber(const KernelSpec& spec, SpecForm& form) {
  const bool served = sample_loss(spec, form);
  form.numbers.p0 = number(spec.attrs, "delta", 1.0);
  return served;
}

bool focal_sample_loss(const KernelSpec& spec, SpecForm& form) {
  const bool served = sample_loss(spec, form);
  form.numbers.p0 = number(spec.attrs, "alpha", 0.25);
  form.numbers.p1 = number(spec.attrs, "gamma", 2.0);
  return served;
}

bool poisson(const KernelSpec& spec, SpecForm& form) {
  form.numbers.log_input = spec.attrs.integer("log_input", 1) != 0;
  return sample_loss(spec, form);
}

bool row_loss(const KernelSpec& spec, SpecForm& form) {
  const bool served = sample_loss(spec, form);
  form.numbers.inner = form.numbers.cols / spec.inputs[0].shape.last();
  return served;
}

bool label_loss(const KernelSpec& spec, SpecForm& form) {
  const TensorType& labels = spec.inputs[1];
  if (labels.dtype != DType::i32 && labels.dtype != DType::f32) return false;
  set_label_rows(spec, form);
  form.numbers.labels = labels.dtype == DType::i32 ? Labels::index : Labels::distribution;
  form.numbers.p0 = number(spec.attrs, "label_smoothing", 0.0);
  return spec.inputs[0].dtype == DType::f32 && all_f32(spec.inputs.subspan(2)) &&
         all_f32(spec.outputs);
}

bool focal(const KernelSpec& spec, SpecForm& form) {
  const bool served = label_loss(spec, form);
  form.numbers.p0 = number(spec.attrs, "alpha", 0.25);
  form.numbers.p1 = number(spec.attrs, "gamma", 2.0);
  return served;
}

bool mask_labels(const KernelSpec& spec, SpecForm& form) {
  form.numbers.cols = spec.outputs[0].shape.numel();
  form.numbers.ignored = static_cast<std::int32_t>(spec.attrs.integer("label", -1));
  return spec.inputs[1].dtype == DType::f32;
}

bool dropout(const KernelSpec& spec, SpecForm& form) {
  const double rate = spec.attrs.number("rate");
  set_samples(spec.inputs[0], form.numbers);
  form.numbers.p0 = static_cast<float>(1.0 / (1.0 - rate));
  // A uniform number is a whole number of 24 bits times 2^-24; it is kept if it is at least rate.
  form.numbers.threshold = static_cast<std::uint32_t>(std::ceil(rate * 0x1.0p24));
  form.numbers.op = static_cast<std::uint64_t>(spec.attrs.integer("op"));
  form.numbers.by_sample = true;
  return all_f32(spec);
}

bool flat(const KernelSpec& spec, SpecForm& form) {
  form.numbers.flat = true;
  return all_f32(spec);
}

bool flat_sum(const KernelSpec& spec, SpecForm& form) {
  form.numbers.flat = true;
  return all_f32(spec.inputs) && spec.outputs[0].dtype == DType::f64;
}

bool flat_measure(const KernelSpec& spec, SpecForm& form) {
  form.numbers.flat = true;
  return all_f32(spec.inputs) && all_f32(spec.outputs.first(spec.outputs.size() - 1)) &&
         spec.outputs.back().dtype == DType::f64;
}

}  // namespace forms
}  // namespace dlt::tensor

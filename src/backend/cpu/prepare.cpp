// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "backend/cpu/gemm.h"
#include "backend/cpu/onednn.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu::prepare {
namespace {

using tensor::Attrs;
using tensor::KernelSpec;
using tensor::TensorType;

bool all_f32(std::span<const TensorType> types) {
  return std::all_of(types.begin(), types.end(),
                     [](const TensorType& type) { return type.dtype == DType::f32; });
}

bool all_f32(const KernelSpec& spec) { return all_f32(spec.inputs) && all_f32(spec.outputs); }

float number(const Attrs& attrs, const char* name, double fallback) {
  return static_cast<float>(attrs.number(name, fallback));
}

/// Rows are samples, columns all sizes behind them.
void set_samples(const TensorType& type, Call& call) {
  call.rows = type.shape.rank() == 0 ? 1 : type.shape[0];
  call.cols = call.rows == 0 ? 0 : type.shape.numel() / call.rows;
}

/// Input 0 [B, ..., n] as B samples of `inner` rows of n numbers.
void set_label_rows(const KernelSpec& spec, Plan& plan) {
  const tensor::Shape& shape = spec.inputs[0].shape;
  Call& call = plan.call;
  call.rows = shape[0];
  call.cols = shape.last();
  call.inner = shape.without_front().numel() / call.cols;
  call.ignored = static_cast<std::int32_t>(spec.attrs.integer("ignore_index", INT32_MIN));
  for (const double weight : spec.attrs.numbers("class_weights")) {
    plan.table.push_back(static_cast<float>(weight));
  }
}

}  // namespace

void set_activation(const Attrs& attrs, Call& call) {
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
  call.activation = found->second;
  call.p0 = number(attrs, "alpha", 0.01);
}

Precision precision_of(const Attrs& attrs) {
  const std::string word = attrs.word("precision", "f32");
  DLT_CHECK(word == "f32" || word == "bf16" || word == "bf16_emulated", cat("precision ", word));
  return word == "f32"    ? Precision::f32
         : word == "bf16" ? Precision::bf16
                          : Precision::bf16_emulated;
}

bool pointwise(const KernelSpec& spec, Plan& plan) {
  Call& call = plan.call;
  call.cols = spec.outputs[0].shape.numel();
  call.p0 = number(spec.attrs, "alpha", 0.01);
  call.tanh_gelu = spec.attrs.word("approximate", "none") == "tanh";
  return all_f32(spec);
}

bool scaling(const KernelSpec& spec, Plan& plan) {
  plan.call.cols = spec.outputs[0].shape.numel();
  plan.call.p0 = number(spec.attrs, "factor", 1.0);
  plan.call.p1 = number(spec.attrs, "offset", 0.0);
  return all_f32(spec);
}

bool constant(const KernelSpec& spec, Plan& plan) {
  plan.call.cols = spec.outputs[0].shape.numel();
  plan.call.p0 = number(spec.attrs, "value", 0.0);
  return all_f32(spec);
}

bool matrix(const KernelSpec& spec, Plan& plan) {
  plan.call.cols = spec.inputs[0].shape.last();
  plan.call.rows = plan.call.cols == 0 ? 0 : spec.inputs[0].shape.numel() / plan.call.cols;
  set_activation(spec.attrs, plan.call);
  return all_f32(spec);
}

bool samples(const KernelSpec& spec, Plan& plan) {
  set_samples(spec.inputs[0], plan.call);
  return all_f32(spec);
}

bool sample_loss(const KernelSpec& spec, Plan& plan) {
  set_samples(spec.inputs[0], plan.call);
  plan.call.p0 = number(spec.attrs, "label_smoothing", 0.0);
  plan.call.inner = plan.call.cols;
  return all_f32(spec);
}

bool huber(const KernelSpec& spec, Plan& plan) {
  const bool served = sample_loss(spec, plan);
  plan.call.p0 = number(spec.attrs, "delta", 1.0);
  return served;
}

bool focal_sample_loss(const KernelSpec& spec, Plan& plan) {
  const bool served = sample_loss(spec, plan);
  plan.call.p0 = number(spec.attrs, "alpha", 0.25);
  plan.call.p1 = number(spec.attrs, "gamma", 2.0);
  return served;
}

bool poisson(const KernelSpec& spec, Plan& plan) {
  plan.call.log_input = spec.attrs.integer("log_input", 1) != 0;
  return sample_loss(spec, plan);
}

bool row_loss(const KernelSpec& spec, Plan& plan) {
  const bool served = sample_loss(spec, plan);
  plan.call.inner = plan.call.cols / spec.inputs[0].shape.last();
  return served;
}

bool label_loss(const KernelSpec& spec, Plan& plan) {
  const TensorType& labels = spec.inputs[1];
  if (labels.dtype != DType::i32 && labels.dtype != DType::f32) return false;
  set_label_rows(spec, plan);
  plan.call.labels = labels.dtype == DType::i32 ? Labels::index : Labels::distribution;
  plan.call.p0 = number(spec.attrs, "label_smoothing", 0.0);
  return spec.inputs[0].dtype == DType::f32 && all_f32(spec.inputs.subspan(2)) &&
         all_f32(spec.outputs);
}

bool focal(const KernelSpec& spec, Plan& plan) {
  const bool served = label_loss(spec, plan);
  plan.call.p0 = number(spec.attrs, "alpha", 0.25);
  plan.call.p1 = number(spec.attrs, "gamma", 2.0);
  return served;
}

bool mask_labels(const KernelSpec& spec, Plan& plan) {
  plan.call.cols = spec.outputs[0].shape.numel();
  plan.call.ignored = static_cast<std::int32_t>(spec.attrs.integer("label", -1));
  return spec.inputs[1].dtype == DType::f32;
}

bool dropout(const KernelSpec& spec, Plan& plan) {
  const double rate = spec.attrs.number("rate");
  set_samples(spec.inputs[0], plan.call);
  plan.call.p0 = static_cast<float>(1.0 / (1.0 - rate));
  // A uniform number is a whole number of 24 bits times 2^-24; it is kept if it is at least rate.
  plan.call.threshold = static_cast<std::uint32_t>(std::ceil(rate * 0x1.0p24));
  plan.call.op = static_cast<std::uint64_t>(spec.attrs.integer("op"));
  plan.call.by_sample = true;
  return all_f32(spec);
}

bool product(const KernelSpec& spec, Plan& plan) {
  Call& call = plan.call;
  call.trans_a = spec.attrs.integer("trans_a") != 0;
  call.trans_b = spec.attrs.integer("trans_b") != 0;
  call.rows = spec.outputs[0].shape[0];
  call.cols = spec.outputs[0].shape[1];
  call.inner = spec.inputs[0].shape[call.trans_a ? 0 : 1];
  set_activation(spec.attrs, call);
  call.precision = precision_of(spec.attrs);
  const GemmArgs sizes{.m = call.rows,
                       .n = call.cols,
                       .k = call.inner,
                       .trans_a = call.trans_a,
                       .trans_b = call.trans_b};
  call.onednn = call.precision == Precision::f32 && onednn_is_faster(sizes, cpu_features().amd);
  if (!call.onednn) {
    plan.scratch_bytes = gemm_scratch_floats(sizes.m, sizes.n, sizes.k, call.precision) *
                         static_cast<std::int64_t>(sizeof(float));
  }
  // In f32 a kept copy is no faster than packing on the way (docs/performance.md).
  constexpr std::uint32_t kSecond = 2;
  if (call.precision == Precision::bf16 && bf16_unit() != Bf16Unit::none &&
      (spec.params & kSecond) != 0) {
    plan.kept_bytes = gemm_packed_bf16_bytes(sizes.n, sizes.k);
  }
  return all_f32(spec);
}

bool flat(const KernelSpec& spec, Plan& plan) {
  plan.call.flat = true;
  return all_f32(spec);
}

bool flat_sum(const KernelSpec& spec, Plan& plan) {
  plan.call.flat = true;
  return all_f32(spec.inputs) && spec.outputs[0].dtype == DType::f64;
}

bool flat_measure(const KernelSpec& spec, Plan& plan) {
  plan.call.flat = true;
  return all_f32(spec.inputs) && all_f32(spec.outputs.first(spec.outputs.size() - 1)) &&
         spec.outputs.back().dtype == DType::f64;
}

}  // namespace dlt::cpu::prepare

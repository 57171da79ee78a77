// SPDX-License-Identifier: Apache-2.0
// Losses of class labels beside cross entropy: focal_loss and categorical_hinge_loss. Predictions
// are [B, ..., n], labels i32 [B, ...]; a sample's loss is the mean over its labels that count.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/labels.h"
#include "ops/sample_loss.h"

namespace dlt::ops {
namespace {

using autodiff::OpDef;
using tensor::Attrs;
using tensor::KernelArgs;

/// -w alpha (1 - p)^gamma log p, p the label's probability by softmax and w its class weight.
/// source  Lin et al. 2017, arXiv:1708.02002
class Focal {
 public:
  explicit Focal(const Attrs& attrs)
      : alpha_(attrs.number("alpha", 0.25)),
        gamma_(attrs.number("gamma", 2.0)),
        weights_(attrs.numbers("class_weights")) {}

  template <typename T>
  [[nodiscard]] double value(const T* x, std::int64_t n, std::int64_t label) const {
    const double logp = static_cast<double>(x[label]) - log_sum(x, n);
    return -weight(label) * std::pow(-std::expm1(logp), gamma_) * logp;
  }

  template <typename T>
  void slope(const T* x, std::int64_t n, std::int64_t label, double scale, T* dx) const {
    const double lse = log_sum(x, n);
    const double logp = static_cast<double>(x[label]) - lse, p = std::exp(logp);
    const double miss = -std::expm1(logp);
    // d/dlogp, with miss^(gamma - 1) written so that miss = 0 and gamma = 0 are no trouble.
    const double power = std::pow(miss, gamma_);
    const double rest = gamma_ > 0 && miss > 0 ? gamma_ * p * logp * power / miss : 0.0;
    const double slope = weight(label) * (rest - power) * scale;
    for (std::int64_t j = 0; j < n; ++j) {
      const double q = std::exp(static_cast<double>(x[j]) - lse);
      dx[j] = static_cast<T>(slope * ((j == label ? 1.0 : 0.0) - q));
    }
  }

 private:
  [[nodiscard]] double weight(std::int64_t label) const {
    return alpha_ * (weights_.empty() ? 1.0 : weights_[static_cast<std::size_t>(label)]);
  }
  template <typename T>
  static double log_sum(const T* x, std::int64_t n) {
    const auto largest = static_cast<double>(*std::max_element(x, x + n));
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(x[j]) - largest);
    return largest + std::log(sum);
  }

  double alpha_, gamma_;
  std::vector<double> weights_;
};

/// max(0, 1 + largest of the others - the label's), where the others' largest is at least 0: it is
/// taken, as in Keras, over all classes with the label's set to 0.
class CategoricalHinge {
 public:
  explicit CategoricalHinge(const Attrs&) {}

  template <typename T>
  [[nodiscard]] double value(const T* x, std::int64_t n, std::int64_t label) const {
    return std::max(0.0, 1.0 + rival(x, n, label).first - static_cast<double>(x[label]));
  }

  template <typename T>
  void slope(const T* x, std::int64_t n, std::int64_t label, double scale, T* dx) const {
    const auto [largest, at] = rival(x, n, label);
    const bool active = 1.0 + largest - static_cast<double>(x[label]) > 0;
    std::fill_n(dx, n, T{0});
    if (!active) return;
    if (at >= 0) dx[at] = static_cast<T>(scale);
    dx[label] = static_cast<T>(-scale);
  }

 private:
  /// The largest of the others and 0, and its class (-1: it is the 0).
  template <typename T>
  static std::pair<double, std::int64_t> rival(const T* x, std::int64_t n, std::int64_t label) {
    std::pair<double, std::int64_t> best{0.0, -1};
    for (std::int64_t j = 0; j < n; ++j) {
      const auto value = static_cast<double>(x[j]);
      if (j != label && value > best.first) best = {value, j};
    }
    return best;
  }
};

void check_labels_op(std::string_view op, Types inputs, const Attrs& attrs) {
  expect_label_rows(op, "pred", inputs[0]);
  expect_labels(op, "pred", inputs[0], inputs[1]);
  expect_class_weights(op, inputs[0].shape.last(), attrs);
  const double gamma = attrs.number("gamma", 2.0);
  expect_number(op, "gamma", gamma, gamma >= 0, "gamma >= 0");
}

template <OpName kName>
TypeList infer_label_loss(Types inputs, const Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 2);
  check_labels_op(kName.view(), inputs, attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

template <OpName kName>
TypeList infer_label_loss_grad(Types inputs, const Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 3);
  check_labels_op(kName.view(), inputs, attrs);
  expect_per_sample(kName.view(), inputs[0], "dloss", inputs[2]);
  return {inputs[0]};
}

template <typename T, typename F>
void label_loss_host(const KernelArgs& args, const Attrs& attrs) {
  const F loss(attrs);
  const LabelRows rows(args.inputs[0].type.shape);
  const Labels labels(args.inputs[1], rows, attrs);
  const T* x = args.inputs[0].as<const T>();
  for (std::int64_t b = 0; b < rows.samples; ++b) {
    double sum = 0;
    for (std::int64_t row = b * rows.per_sample; row < (b + 1) * rows.per_sample; ++row) {
      if (!labels.counts(row)) continue;
      labels.check(row);
      sum += loss.value(x + row * rows.n, rows.n, labels.at(row));
    }
    args.outputs[0].as<T>()[b] = static_cast<T>(sum * labels.share(b));
  }
}

template <typename T, typename F>
void label_loss_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const F loss(attrs);
  const LabelRows rows(args.inputs[0].type.shape);
  const Labels labels(args.inputs[1], rows, attrs);
  const T* x = args.inputs[0].as<const T>();
  std::vector<T> dx(static_cast<std::size_t>(rows.n));  // dx may be x
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    const std::int64_t b = row / rows.per_sample;
    std::fill(dx.begin(), dx.end(), T{0});
    if (labels.counts(row)) {
      const double scale = static_cast<double>(args.inputs[2].as<const T>()[b]) * labels.share(b);
      loss.slope(x + row * rows.n, rows.n, labels.at(row), scale, dx.data());
    }
    std::copy(dx.begin(), dx.end(), args.outputs[0].as<T>() + row * rows.n);
  }
}

template <OpName kName, OpName kGrad, typename F>
OpDef label_loss_op() {
  return {.name = kName.view(),
          .infer = infer_label_loss<kName>,
          .host = host_kernel<label_loss_host<float, F>, label_loss_host<double, F>>,
          .vjp = loss_vjp<kGrad>};
}

template <OpName kName, typename F>
OpDef label_loss_grad_op() {
  return {.name = kName.view(),
          .infer = infer_label_loss_grad<kName>,
          .host = host_kernel<label_loss_grad_host<float, F>, label_loss_grad_host<double, F>>,
          .in_place = true};
}

/// Labels, replaced by the attribute `label` where the mask is 0.
TypeList infer_mask_labels(Types inputs, const Attrs&) {
  expect_inputs("mask_labels", inputs, 2);
  const bool fits = inputs[0].dtype == DType::i32 && inputs[0].shape == inputs[1].shape;
  if (!fits) {
    rule_broken("mask_labels", cat("labels are ", inputs[0].text(), ", mask is ", inputs[1].text(),
                                   "; want i32 labels of the mask's shape"));
  }
  expect_float("mask_labels", "mask", inputs[1]);
  return {inputs[0]};
}

template <typename T>
void mask_labels_host(const KernelArgs& args, const Attrs& attrs) {
  const auto masked = static_cast<std::int32_t>(attrs.integer("label", -1));
  const auto* labels = args.inputs[0].as<const std::int32_t>();
  const T* mask = args.inputs[1].as<const T>();
  for (std::int64_t i = 0; i < args.inputs[0].numel(); ++i) {
    args.outputs[0].as<std::int32_t>()[i] = mask[i] > T{0.5} ? labels[i] : masked;
  }
}

std::unique_ptr<tensor::Kernel> mask_labels_kernel(const tensor::KernelSpec& spec) {
  if (spec.inputs[1].dtype == DType::f32) {
    return tensor::make_function_kernel(mask_labels_host<float>, spec.attrs);
  }
  if (spec.inputs[1].dtype == DType::f64) {
    return tensor::make_function_kernel(mask_labels_host<double>, spec.attrs);
  }
  return nullptr;
}

}  // namespace

OpDef make_categorical_hinge_loss() {
  return label_loss_op<"categorical_hinge_loss", "categorical_hinge_loss_grad", CategoricalHinge>();
}
OpDef make_categorical_hinge_loss_grad() {
  return label_loss_grad_op<"categorical_hinge_loss_grad", CategoricalHinge>();
}
OpDef make_focal_loss() { return label_loss_op<"focal_loss", "focal_loss_grad", Focal>(); }
OpDef make_focal_loss_grad() { return label_loss_grad_op<"focal_loss_grad", Focal>(); }

OpDef make_mask_labels() {
  return {.name = "mask_labels",
          .infer = infer_mask_labels,
          .host = mask_labels_kernel,
          .in_place = true};
}

}  // namespace dlt::ops

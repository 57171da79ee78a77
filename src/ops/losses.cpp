// SPDX-License-Identifier: Apache-2.0
// Losses of values: one number a sample, the mean over the sizes behind the batch. Targets get no
// gradient.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/activation.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::OpDef;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;

double delta_of(const Attrs& attrs) { return attrs.number("delta", 1.0); }
double smoothing_of(const Attrs& attrs) { return attrs.number("label_smoothing"); }

/// loss(prediction, target, parameter) of one element and its derivative by the prediction.
using Element = double (*)(double p, double t, double parameter);

double mse(double p, double t, double) { return (p - t) * (p - t); }
double mse_grad(double p, double t, double) { return 2.0 * (p - t); }

double mae(double p, double t, double) { return std::abs(p - t); }
double mae_grad(double p, double t, double) { return p > t ? 1.0 : p < t ? -1.0 : 0.0; }

/// source  Huber 1964, "Robust estimation of a location parameter"
double huber(double p, double t, double delta) {
  const double d = std::abs(p - t);
  return d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
}
double huber_grad(double p, double t, double delta) { return std::clamp(p - t, -delta, delta); }

double smoothed(double t, double smoothing) { return t * (1.0 - smoothing) + 0.5 * smoothing; }

/// Probabilities are kept off 0 and 1 as Keras does it, in the dtype of the prediction; beyond the
/// limits the derivative is zero.
constexpr double kLow = 1e-7;
template <typename T>
constexpr double kHigh = static_cast<double>(static_cast<T>(1.0 - kLow));

template <typename T>
double bce(double p, double t, double smoothing) {
  const double target = smoothed(t, smoothing);
  const double q = std::clamp(p, kLow, kHigh<T>);
  return -(target * std::log(q) + (1.0 - target) * std::log1p(-q));
}
template <typename T>
double bce_grad(double p, double t, double smoothing) {
  if (p < kLow || p > kHigh<T>) return 0.0;
  return (p - smoothed(t, smoothing)) / (p * (1.0 - p));
}

/// -(t log s(x) + (1 - t) log(1 - s(x))) = softplus(x) - t x
double bce_with_logits(double x, double t, double smoothing) {
  return softplus(x, 0) - smoothed(t, smoothing) * x;
}
double bce_with_logits_grad(double x, double t, double smoothing) {
  return sigmoid(x, 0) - smoothed(t, smoothing);
}

template <typename T, Element kElement, Parameter kParameter>
void loss_host(const KernelArgs& args, const Attrs& attrs) {
  const double parameter = kParameter(attrs);
  const std::int64_t batch = args.outputs[0].numel(),
                     n = args.inputs[0].numel() / std::max<std::int64_t>(batch, 1);
  for (std::int64_t i = 0; i < batch; ++i) {
    const T* p = args.inputs[0].as<const T>() + i * n;
    const T* t = args.inputs[1].as<const T>() + i * n;
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      sum += kElement(static_cast<double>(p[j]), static_cast<double>(t[j]), parameter);
    }
    args.outputs[0].as<T>()[i] = static_cast<T>(sum / static_cast<double>(n));
  }
}

template <typename T, Element kElement, Parameter kParameter>
void loss_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const double parameter = kParameter(attrs);
  const std::int64_t batch = args.inputs[2].numel(),
                     n = args.inputs[0].numel() / std::max<std::int64_t>(batch, 1);
  for (std::int64_t i = 0; i < batch; ++i) {
    const T* p = args.inputs[0].as<const T>() + i * n;
    const T* t = args.inputs[1].as<const T>() + i * n;
    T* dp = args.outputs[0].as<T>() + i * n;
    const double scale =
        static_cast<double>(args.inputs[2].as<const T>()[i]) / static_cast<double>(n);
    for (std::int64_t j = 0; j < n; ++j) {
      dp[j] = static_cast<T>(
          kElement(static_cast<double>(p[j]), static_cast<double>(t[j]), parameter) * scale);
    }
  }
}

void check_loss(std::string_view op, Types inputs, const Attrs& attrs) {
  const tensor::TensorType &pred = inputs[0], &target = inputs[1];
  expect_float(op, "pred", pred);
  expect_same(op, "pred", pred, "target", target);
  if (pred.shape.rank() == 0) rule_broken(op, "pred is a scalar; want [B, ...]");
  if (pred.shape.without_front().numel() == 0) {
    rule_broken(op, cat("pred is ", pred.text(), "; want no size 0 behind the batch"));
  }
  expect_number(op, "delta", delta_of(attrs), delta_of(attrs) > 0, "delta > 0");
  expect_label_smoothing(op, attrs);
}

template <OpName kName>
TypeList infer_loss(Types inputs, const Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 2);
  check_loss(kName.view(), inputs, attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

template <OpName kName>
TypeList infer_loss_grad(Types inputs, const Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 3);
  check_loss(kName.view(), inputs, attrs);
  const tensor::TensorType per_sample{{inputs[0].shape[0]}, inputs[0].dtype};
  if (inputs[2] != per_sample) {
    rule_broken(kName.view(), cat("pred is ", inputs[0].text(), ", dloss is ", inputs[2].text(),
                                  "; want ", per_sample.text()));
  }
  return {inputs[0]};
}

template <OpName kGrad>
std::vector<ValueId> loss_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {
      graph.add_one(kGrad.view(), {node.inputs[0], node.inputs[1], grads[0]}, Attrs(node.attrs)),
      ValueId{}};
}

template <OpName kName, OpName kGrad, Element kF32, Element kF64, Parameter kParameter>
OpDef loss_op() {
  return {
      .name = kName.view(),
      .infer = infer_loss<kName>,
      .host = host_kernel<loss_host<float, kF32, kParameter>, loss_host<double, kF64, kParameter>>,
      .vjp = loss_vjp<kGrad>};
}

template <OpName kName, Element kF32, Element kF64, Parameter kParameter>
OpDef loss_grad_op() {
  return {.name = kName.view(),
          .infer = infer_loss_grad<kName>,
          .host = host_kernel<loss_grad_host<float, kF32, kParameter>,
                              loss_grad_host<double, kF64, kParameter>>,
          .in_place = true};
}

}  // namespace

OpDef make_mse_loss() { return loss_op<"mse_loss", "mse_loss_grad", mse, mse, no_parameter>(); }
OpDef make_mse_loss_grad() {
  return loss_grad_op<"mse_loss_grad", mse_grad, mse_grad, no_parameter>();
}

OpDef make_mae_loss() { return loss_op<"mae_loss", "mae_loss_grad", mae, mae, no_parameter>(); }
OpDef make_mae_loss_grad() {
  return loss_grad_op<"mae_loss_grad", mae_grad, mae_grad, no_parameter>();
}

OpDef make_huber_loss() {
  return loss_op<"huber_loss", "huber_loss_grad", huber, huber, delta_of>();
}
OpDef make_huber_loss_grad() {
  return loss_grad_op<"huber_loss_grad", huber_grad, huber_grad, delta_of>();
}

OpDef make_bce_loss() {
  return loss_op<"bce_loss", "bce_loss_grad", bce<float>, bce<double>, smoothing_of>();
}
OpDef make_bce_loss_grad() {
  return loss_grad_op<"bce_loss_grad", bce_grad<float>, bce_grad<double>, smoothing_of>();
}

OpDef make_bce_with_logits_loss() {
  return loss_op<"bce_with_logits_loss", "bce_with_logits_loss_grad", bce_with_logits,
                 bce_with_logits, smoothing_of>();
}
OpDef make_bce_with_logits_loss_grad() {
  return loss_grad_op<"bce_with_logits_loss_grad", bce_with_logits_grad, bce_with_logits_grad,
                      smoothing_of>();
}

}  // namespace dlt::ops

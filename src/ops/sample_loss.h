// SPDX-License-Identifier: Apache-2.0
// Losses of values: one number a sample, the mean over the sizes behind the batch. Targets get no
// gradient. A loss is a struct F of an op's attributes with
//   double value(double prediction, double target) const;   of one element
//   double slope(double prediction, double target) const;   its derivative by the prediction
//   static constexpr bool kSumsRows: true if the last axis is summed, and only the rest averaged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "ops/host.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace dlt::ops {

/// What an element-wise loss is divided by: the numbers of a sample, or the rows.
template <typename F>
double sample_divisor(const tensor::Shape& shape) {
  const std::int64_t n = shape.without_front().numel();
  return static_cast<double>(F::kSumsRows ? n / shape.last() : n);
}

template <typename T, typename F>
void sample_loss_host(const tensor::KernelArgs& args, const tensor::Attrs& attrs) {
  const F loss(attrs);
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.without_front().numel();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    const T* p = args.inputs[0].as<const T>() + i * n;
    const T* t = args.inputs[1].as<const T>() + i * n;
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      sum += loss.value(static_cast<double>(p[j]), static_cast<double>(t[j]));
    }
    args.outputs[0].as<T>()[i] = static_cast<T>(sum / sample_divisor<F>(shape));
  }
}

template <typename T, typename F>
void sample_loss_grad_host(const tensor::KernelArgs& args, const tensor::Attrs& attrs) {
  const F loss(attrs);
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.without_front().numel();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    const T* p = args.inputs[0].as<const T>() + i * n;
    const T* t = args.inputs[1].as<const T>() + i * n;
    T* dp = args.outputs[0].as<T>() + i * n;
    const double scale =
        static_cast<double>(args.inputs[2].as<const T>()[i]) / sample_divisor<F>(shape);
    for (std::int64_t j = 0; j < n; ++j) {
      dp[j] =
          static_cast<T>(loss.slope(static_cast<double>(p[j]), static_cast<double>(t[j])) * scale);
    }
  }
}

/// Predictions and targets of one type, [B, ...], and the attributes of all these losses.
void check_sample_loss(std::string_view op, Types inputs, const tensor::Attrs& attrs);

template <OpName kName>
TypeList infer_sample_loss(Types inputs, const tensor::Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 2);
  check_sample_loss(kName.view(), inputs, attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

template <OpName kName>
TypeList infer_sample_loss_grad(Types inputs, const tensor::Attrs& attrs) {
  expect_inputs(kName.view(), inputs, 3);
  check_sample_loss(kName.view(), inputs, attrs);
  expect_per_sample(kName.view(), inputs[0], "dloss", inputs[2]);
  return {inputs[0]};
}

/// The derivative of an op of (pred, target) is another of (pred, target, dloss).
template <OpName kGrad>
std::vector<autodiff::ValueId> loss_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                        std::span<const autodiff::ValueId> grads) {
  return {graph.add_one(kGrad.view(), {node.inputs[0], node.inputs[1], grads[0]},
                        tensor::Attrs(node.attrs)),
          autodiff::ValueId{}};
}

template <OpName kName, OpName kGrad, template <typename> typename F>
autodiff::OpDef loss_op() {
  return {
      .name = kName.view(),
      .infer = infer_sample_loss<kName>,
      .host = host_kernel<sample_loss_host<float, F<float>>, sample_loss_host<double, F<double>>>,
      .vjp = loss_vjp<kGrad>};
}

template <OpName kName, template <typename> typename F>
autodiff::OpDef loss_grad_op() {
  return {.name = kName.view(),
          .infer = infer_sample_loss_grad<kName>,
          .host = host_kernel<sample_loss_grad_host<float, F<float>>,
                              sample_loss_grad_host<double, F<double>>>,
          .in_place = true};
}

}  // namespace dlt::ops

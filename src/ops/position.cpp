// SPDX-License-Identifier: Apache-2.0
// What tells a network where in the sequence it is: position_add, position_add_grad, sinusoid_add,
// rope
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

constexpr double kTheta = 10000.0;

double theta_of(std::string_view op, const Attrs& attrs) {
  const double theta = attrs.number("theta", kTheta);
  expect_number(op, "theta", theta, theta >= 1, "theta >= 1");
  return theta;
}

TypeList infer_position_add(Types inputs, const Attrs&) {
  expect_inputs("position_add", inputs, 2);
  expect_float("position_add", "x", inputs[0]);
  expect_rank("position_add", "x", inputs[0], "[B, T, C]");
  const Shape &x = inputs[0].shape, &p = inputs[1].shape;
  if (p.rank() != 2 || p[1] != x[2] || p[0] < x[1] || inputs[0].dtype != inputs[1].dtype) {
    rule_broken("position_add",
                cat("x is ", inputs[0].text(), ", positions are ", inputs[1].text(),
                    "; want positions [L, ", x[2], "] with L >= ", x[1], " and the same dtype"));
  }
  return {inputs[0]};
}

template <typename T>
void position_add_host(const KernelArgs& args, const Attrs&) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape[1] * shape[2];
  const T* x = args.inputs[0].as<const T>();
  const T* p = args.inputs[1].as<const T>();
  T* y = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    y[i] = static_cast<T>(static_cast<double>(x[i]) + static_cast<double>(p[i % n]));
  }
}

std::vector<ValueId> position_add_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                      std::span<const ValueId> grads) {
  const std::int64_t rows = graph.shape(node.inputs[1])[0];
  return {grads[0], graph.add_one("position_add_grad", {grads[0]}, {{"rows", rows}})};
}

TypeList infer_position_add_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("position_add_grad", inputs, 1);
  expect_float("position_add_grad", "dy", inputs[0]);
  expect_rank("position_add_grad", "dy", inputs[0], "[B, T, C]");
  const std::int64_t rows = attrs.integer("rows"), length = inputs[0].shape[1];
  expect_number("position_add_grad", "rows", static_cast<double>(rows), rows >= length,
                cat("rows >= ", length));
  return {{{rows, inputs[0].shape[2]}, inputs[0].dtype}};
}

template <typename T>
void position_add_grad_host(const KernelArgs& args, const Attrs&) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape[1] * shape[2];
  const T* dy = args.inputs[0].as<const T>();
  T* dp = args.outputs[0].as<T>();
  std::fill_n(dp, args.outputs[0].numel(), T{0});
  for (std::int64_t j = 0; j < n; ++j) {
    double sum = 0;
    for (std::int64_t b = 0; b < shape[0]; ++b) sum += static_cast<double>(dy[b * n + j]);
    dp[j] = static_cast<T>(sum);
  }
}

TypeList infer_sinusoid_add(Types inputs, const Attrs& attrs) {
  const TypeList outputs = infer_unary<"sinusoid_add">(inputs, attrs);
  expect_rank("sinusoid_add", "x", inputs[0], "[B, T, C]");
  (void)theta_of("sinusoid_add", attrs);
  return outputs;
}

/// source  Vaswani et al. 2017, "Attention is all you need", section 3.5
template <typename T>
void sinusoid_add_host(const KernelArgs& args, const Attrs& attrs) {
  const double theta = attrs.number("theta", kTheta);
  const Shape& shape = args.inputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  T* y = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const std::int64_t c = i % shape[2], t = i / shape[2] % shape[1];
    const double power = static_cast<double>(c / 2 * 2) / static_cast<double>(shape[2]);
    const double angle = static_cast<double>(t) * std::pow(theta, -power);
    y[i] = static_cast<T>(static_cast<double>(x[i]) +
                          (c % 2 == 0 ? std::sin(angle) : std::cos(angle)));
  }
}

std::vector<ValueId> sinusoid_add_vjp(autodiff::Graph&, const autodiff::Node&,
                                      std::span<const ValueId> grads) {
  return {grads[0]};
}

TypeList infer_rope(Types inputs, const Attrs& attrs) {
  const TypeList outputs = infer_unary<"rope">(inputs, attrs);
  expect_rank("rope", "x", inputs[0], "[B, T, C]");
  (void)theta_of("rope", attrs);
  const std::int64_t heads = attrs.integer("heads", 1), size = attrs.integer("head_size");
  if (heads < 1 || size < 2 || size % 2 != 0 || heads > inputs[0].shape[2] / size) {
    rule_broken("rope",
                cat("x is ", inputs[0].text(), ", heads is ", heads, ", head_size is ", size,
                    "; want an even head_size and heads * head_size <= ", inputs[0].shape[2]));
  }
  return outputs;
}

/// Numbers d and d + D/2 of a head turn by the angle t theta^(-2d/D).
/// source  Su et al. 2021, "RoFormer", arXiv:2104.09864, with the halves paired as in GPT-NeoX
template <typename T>
void rope_host(const KernelArgs& args, const Attrs& attrs) {
  const double theta = attrs.number("theta", kTheta);
  const double sign = attrs.integer("inverse") != 0 ? -1.0 : 1.0;
  const std::int64_t heads = attrs.integer("heads", 1), size = attrs.integer("head_size");
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t half = size / 2;
  for (std::int64_t row = 0; row < shape[0] * shape[1]; ++row) {
    const T* x = args.inputs[0].as<const T>() + row * shape[2];
    T* y = args.outputs[0].as<T>() + row * shape[2];
    for (std::int64_t i = 0; i < heads * half; ++i) {
      const std::int64_t d = i % half, first = i / half * size + d;
      const double power = 2.0 * static_cast<double>(d) / static_cast<double>(size);
      const double angle = static_cast<double>(row % shape[1]) * std::pow(theta, -power);
      const double cosine = std::cos(angle), sine = sign * std::sin(angle);
      const double a = static_cast<double>(x[first]), b = static_cast<double>(x[first + half]);
      y[first] = static_cast<T>(a * cosine - b * sine);
      y[first + half] = static_cast<T>(b * cosine + a * sine);
    }
    std::copy(x + heads * size, x + shape[2], y + heads * size);
  }
}

std::vector<ValueId> rope_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                              std::span<const ValueId> grads) {
  Attrs attrs(node.attrs);
  attrs.set("inverse", std::int64_t{node.attrs.integer("inverse") != 0 ? 0 : 1});
  return {graph.add_one("rope", {grads[0]}, std::move(attrs))};
}

}  // namespace

autodiff::OpDef make_position_add() {
  return {.name = "position_add",
          .infer = infer_position_add,
          .host = host_kernel<position_add_host<float>, position_add_host<double>>,
          .vjp = position_add_vjp,
          .in_place = true};
}

autodiff::OpDef make_position_add_grad() {
  return {.name = "position_add_grad",
          .infer = infer_position_add_grad,
          .host = host_kernel<position_add_grad_host<float>, position_add_grad_host<double>>};
}

autodiff::OpDef make_sinusoid_add() {
  return {.name = "sinusoid_add",
          .infer = infer_sinusoid_add,
          .host = host_kernel<sinusoid_add_host<float>, sinusoid_add_host<double>>,
          .vjp = sinusoid_add_vjp,
          .in_place = true};
}

autodiff::OpDef make_rope() {
  return {.name = "rope",
          .infer = infer_rope,
          .host = host_kernel<rope_host<float>, rope_host<double>>,
          .vjp = rope_vjp,
          .in_place = true};
}

}  // namespace dlt::ops

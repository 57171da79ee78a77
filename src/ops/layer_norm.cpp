// SPDX-License-Identifier: Apache-2.0
// layer_norm, rms_norm, add_layer_norm and their derivatives: each row of the last axis by itself.
// source  Ba et al. 2016, arXiv:1607.06450; Zhang & Sennrich 2019, arXiv:1910.07467
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/norm_rules.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

void expect_rows(std::string_view op, const tensor::TensorType& x) {
  expect_float(op, "x", x);
  if (x.shape.rank() >= 1 && x.shape.numel() > 0) return;
  rule_broken(op, cat("x is ", x.text(), "; want [..., n] with no size 0"));
}

tensor::TensorType per_row(const tensor::TensorType& x) { return {{x.shape.rows()}, x.dtype}; }

TypeList infer_layer_norm(Types inputs, const Attrs& attrs) {
  expect_inputs("layer_norm", inputs, 3);
  const tensor::TensorType& x = inputs[0];
  expect_rows("layer_norm", x);
  expect_vector("layer_norm", "gamma", inputs[1], x.shape.last(), x.dtype);
  expect_vector("layer_norm", "beta", inputs[2], x.shape.last(), x.dtype);
  check_eps("layer_norm", attrs);
  return {x, per_row(x), per_row(x)};
}

TypeList infer_add_layer_norm(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "add_layer_norm";
  expect_inputs(kOp, inputs, 4);
  expect_rows(kOp, inputs[0]);
  expect_same(kOp, "a", inputs[0], "b", inputs[1]);
  const tensor::TensorType& x = inputs[0];
  expect_vector(kOp, "gamma", inputs[2], x.shape.last(), x.dtype);
  expect_vector(kOp, "beta", inputs[3], x.shape.last(), x.dtype);
  check_eps(kOp, attrs);
  return {x, x, per_row(x), per_row(x)};
}

/// The row's mean and 1 / sqrt(variance + eps).
struct RowMoments {
  double mean = 0, inv_std = 0;
  template <typename T>
  RowMoments(const T* x, std::int64_t n, double eps) {
    for (std::int64_t j = 0; j < n; ++j) mean += static_cast<double>(x[j]);
    mean /= static_cast<double>(n);
    double squares = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      const double d = static_cast<double>(x[j]) - mean;
      squares += d * d;
    }
    inv_std = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  }
};

template <typename T>
void normalize_row(const T* x, const RowMoments& row, const KernelArgs& args, std::size_t gamma,
                   T* y) {
  const std::int64_t n = args.inputs[0].type.shape.last();
  for (std::int64_t j = 0; j < n; ++j) {
    y[j] = static_cast<T>((static_cast<double>(x[j]) - row.mean) * row.inv_std *
                              static_cast<double>(args.inputs[gamma].as<const T>()[j]) +
                          static_cast<double>(args.inputs[gamma + 1].as<const T>()[j]));
  }
}

template <typename T>
void layer_norm_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.last();
  for (std::int64_t i = 0; i < shape.rows(); ++i) {
    const T* x = args.inputs[0].as<const T>() + i * n;
    const RowMoments row(x, n, eps_of(attrs));
    normalize_row(x, row, args, 1, args.outputs[0].as<T>() + i * n);
    args.outputs[1].as<T>()[i] = static_cast<T>(row.mean);
    args.outputs[2].as<T>()[i] = static_cast<T>(row.inv_std);
  }
}

template <typename T>
void add_layer_norm_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.last();
  for (std::int64_t i = 0; i < shape.rows(); ++i) {
    const T* a = args.inputs[0].as<const T>() + i * n;
    const T* b = args.inputs[1].as<const T>() + i * n;
    T* sum = args.outputs[0].as<T>() + i * n;
    for (std::int64_t j = 0; j < n; ++j) sum[j] = a[j] + b[j];
    const RowMoments row(sum, n, eps_of(attrs));
    normalize_row(sum, row, args, 2, args.outputs[1].as<T>() + i * n);
    args.outputs[2].as<T>()[i] = static_cast<T>(row.mean);
    args.outputs[3].as<T>()[i] = static_cast<T>(row.inv_std);
  }
}

std::vector<ValueId> layer_norm_vjp(Graph& graph, const Node& node,
                                    std::span<const ValueId> grads) {
  DLT_CHECK(grads[0].valid() && !grads[1].valid() && !grads[2].valid(),
            "layer_norm: no derivative by its statistics");
  return graph.add("layer_norm_grad",
                   {node.inputs[0], grads[0], node.inputs[1], node.outputs[1], node.outputs[2]});
}

std::vector<ValueId> add_layer_norm_vjp(Graph& graph, const Node& node,
                                        std::span<const ValueId> grads) {
  DLT_CHECK(!grads[2].valid() && !grads[3].valid(),
            "add_layer_norm: no derivative by its statistics");
  if (!grads[1].valid()) return {grads[0], grads[0], {}, {}};
  std::vector<ValueId> inputs{node.outputs[0], grads[1], node.inputs[2], node.outputs[2],
                              node.outputs[3]};
  if (grads[0].valid()) inputs.push_back(grads[0]);
  const std::vector<ValueId> d = graph.add("layer_norm_grad", std::move(inputs));
  return {d[0], d[0], d[1], d[2]};
}

/// x, dy, gamma, one number a row for each of `names`, and possibly what else reaches x.
TypeList infer_row_grad(std::string_view op, Types inputs, std::span<const char* const> names) {
  const std::size_t required = 3 + names.size();
  DLT_CHECK(inputs.size() == required || inputs.size() == required + 1, op);
  const tensor::TensorType& x = inputs[0];
  expect_rows(op, x);
  expect_same(op, "x", x, "dy", inputs[1]);
  expect_vector(op, "gamma", inputs[2], x.shape.last(), x.dtype);
  for (std::size_t i = 0; i < names.size(); ++i) {
    expect_vector(op, names[i], inputs[3 + i], x.shape.rows(), x.dtype);
  }
  if (inputs.size() > required) expect_same(op, "x", x, "dsum", inputs[required]);
  return {x, inputs[2]};
}

TypeList infer_layer_norm_grad(Types inputs, const Attrs&) {
  constexpr const char* kNames[] = {"mean", "inv_std"};
  TypeList types = infer_row_grad("layer_norm_grad", inputs, kNames);
  types.push_back(inputs[2]);
  return types;
}

/// dx = inv_std (g - mean(g) - x̂ mean(g x̂)) + dsum with g = gamma dy; without a mean (rms_norm) the
/// term mean(g) is absent.
template <typename T, bool kCentered>
void row_grad_host(const KernelArgs& args, const Attrs&) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.last(), count = shape.numel();
  const std::size_t inv = kCentered ? 4 : 3;
  const auto at = [&](std::size_t input, std::int64_t i) {
    return static_cast<double>(args.inputs[input].as<const T>()[i]);
  };
  const auto normal = [&](std::int64_t i) {
    return (at(0, i) - (kCentered ? at(3, i / n) : 0.0)) * at(inv, i / n);
  };
  for (std::int64_t j = 0; j < n; ++j) {
    double dgamma = 0, dbeta = 0;
    for (std::int64_t i = j; i < count; i += n) {
      dgamma += at(1, i) * normal(i);
      dbeta += at(1, i);
    }
    args.outputs[1].as<T>()[j] = static_cast<T>(dgamma);
    if (kCentered) args.outputs[2].as<T>()[j] = static_cast<T>(dbeta);
  }
  for (std::int64_t start = 0; start < count; start += n) {
    double sum = 0, product = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      sum += at(2, j) * at(1, start + j);
      product += at(2, j) * at(1, start + j) * normal(start + j);
    }
    const double scale = 1.0 / static_cast<double>(n), shift = kCentered ? sum * scale : 0.0;
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t i = start + j;
      const double past = args.inputs.size() > inv + 1 ? at(inv + 1, i) : 0.0;
      const double g = at(2, j) * at(1, i) - shift - normal(i) * product * scale;
      args.outputs[0].as<T>()[i] = static_cast<T>(at(inv, i / n) * g + past);
    }
  }
}

TypeList infer_rms_norm(Types inputs, const Attrs& attrs) {
  expect_inputs("rms_norm", inputs, 2);
  expect_rows("rms_norm", inputs[0]);
  expect_vector("rms_norm", "gamma", inputs[1], inputs[0].shape.last(), inputs[0].dtype);
  check_eps("rms_norm", attrs);
  return {inputs[0], per_row(inputs[0])};
}

template <typename T>
void rms_norm_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.last();
  for (std::int64_t i = 0; i < shape.rows(); ++i) {
    const T* x = args.inputs[0].as<const T>() + i * n;
    double squares = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      squares += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    }
    const double inv_rms = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps_of(attrs));
    for (std::int64_t j = 0; j < n; ++j) {
      args.outputs[0].as<T>()[i * n + j] =
          static_cast<T>(static_cast<double>(x[j]) * inv_rms *
                         static_cast<double>(args.inputs[1].as<const T>()[j]));
    }
    args.outputs[1].as<T>()[i] = static_cast<T>(inv_rms);
  }
}

std::vector<ValueId> rms_norm_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  DLT_CHECK(grads[0].valid() && !grads[1].valid(), "rms_norm: no derivative by its statistics");
  return graph.add("rms_norm_grad", {node.inputs[0], grads[0], node.inputs[1], node.outputs[1]});
}

TypeList infer_rms_norm_grad(Types inputs, const Attrs&) {
  constexpr const char* kNames[] = {"inv_rms"};
  return infer_row_grad("rms_norm_grad", inputs, kNames);
}

}  // namespace

autodiff::OpDef make_layer_norm() {
  return {.name = "layer_norm",
          .infer = infer_layer_norm,
          .host = host_kernel<layer_norm_host<float>, layer_norm_host<double>>,
          .vjp = layer_norm_vjp};
}

autodiff::OpDef make_layer_norm_grad() {
  return {.name = "layer_norm_grad",
          .infer = infer_layer_norm_grad,
          .host = host_kernel<row_grad_host<float, true>, row_grad_host<double, true>>,
          .in_place = true};
}

autodiff::OpDef make_add_layer_norm() {
  return {.name = "add_layer_norm",
          .infer = infer_add_layer_norm,
          .host = host_kernel<add_layer_norm_host<float>, add_layer_norm_host<double>>,
          .vjp = add_layer_norm_vjp,
          .in_place = true};
}

autodiff::OpDef make_rms_norm() {
  return {.name = "rms_norm",
          .infer = infer_rms_norm,
          .host = host_kernel<rms_norm_host<float>, rms_norm_host<double>>,
          .vjp = rms_norm_vjp};
}

autodiff::OpDef make_rms_norm_grad() {
  return {.name = "rms_norm_grad",
          .infer = infer_rms_norm_grad,
          .host = host_kernel<row_grad_host<float, false>, row_grad_host<double, false>>,
          .in_place = true};
}

}  // namespace dlt::ops

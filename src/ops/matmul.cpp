// SPDX-License-Identifier: Apache-2.0
// matmul, bias_add, bias_grad, linear, activation_bias_grad
#include <cmath>
#include <cstdint>
#include <string>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/activation.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

/// Where element (row, column) of a matrix lies that may be stored transposed.
struct Strides {
  std::int64_t row, column;
  Strides(const Shape& stored, bool transposed)
      : row(transposed ? 1 : stored.last()), column(transposed ? stored.last() : 1) {}
};

TypeList infer_matmul(Types inputs, const Attrs& attrs) {
  expect_inputs("matmul", inputs, 2);
  const tensor::TensorType &a = inputs[0], &b = inputs[1];
  expect_float("matmul", "a", a);
  expect_rank("matmul", "a", a, "[m, k]");
  expect_rank("matmul", "b", b, "[k, n]");
  const bool trans_a = attrs.integer("trans_a") != 0, trans_b = attrs.integer("trans_b") != 0;
  const int inner_a = trans_a ? 0 : 1, inner_b = trans_b ? 1 : 0;
  if (a.shape[inner_a] != b.shape[inner_b]) {
    rule_broken("matmul", cat("inner sizes differ: ", a.shape.text(), trans_a ? "^T" : "", " x ",
                              b.shape.text(), trans_b ? "^T" : "", "; want lhs.shape[", inner_a,
                              "] == rhs.shape[", inner_b, "]"));
  }
  expect_precision("matmul", attrs);
  if (a.dtype != b.dtype) {
    rule_broken("matmul", cat("a is ", a.text(), ", b is ", b.text(), "; want the same dtype"));
  }
  return {{{a.shape[1 - inner_a], b.shape[1 - inner_b]}, a.dtype}};
}

template <typename T>
void matmul_host(const KernelArgs& args, const Attrs& attrs) {
  const bool trans_a = attrs.integer("trans_a") != 0, trans_b = attrs.integer("trans_b") != 0;
  const Rounding rounding = rounding_of(attrs);
  const Strides sa(args.inputs[0].type.shape, trans_a), sb(args.inputs[1].type.shape, trans_b);
  const T* a = args.inputs[0].as<const T>();
  const T* b = args.inputs[1].as<const T>();
  T* c = args.outputs[0].as<T>();
  const Shape& shape = args.outputs[0].type.shape;
  const std::int64_t inner = args.inputs[0].type.shape[trans_a ? 0 : 1];
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    for (std::int64_t j = 0; j < shape[1]; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < inner; ++k) {
        sum += operand(a[i * sa.row + k * sa.column], rounding) *
               operand(b[k * sb.row + j * sb.column], rounding);
      }
      c[i * shape[1] + j] = static_cast<T>(sum);
    }
  }
}

ValueId product(Graph& graph, ValueId a, ValueId b, bool trans_a, bool trans_b) {
  Attrs attrs;
  if (trans_a) attrs.set("trans_a", kYes);
  if (trans_b) attrs.set("trans_b", kYes);
  return graph.add_one("matmul", {a, b}, std::move(attrs));
}

/// With C = A' B': dA' = dC B'^T and dB' = A'^T dC; an operand stored transposed gets the
/// transpose.
std::vector<ValueId> matmul_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  const bool trans_a = node.attrs.integer("trans_a") != 0;
  const bool trans_b = node.attrs.integer("trans_b") != 0;
  const ValueId a = node.inputs[0], b = node.inputs[1], dc = grads[0];
  const ValueId da =
      trans_a ? product(graph, b, dc, trans_b, true) : product(graph, dc, b, false, !trans_b);
  const ValueId db =
      trans_b ? product(graph, dc, a, true, trans_a) : product(graph, a, dc, !trans_a, false);
  return {da, db};
}

std::int64_t matmul_flops(Types inputs, Types outputs, const Attrs& attrs) {
  const std::int64_t inner = inputs[0].shape[attrs.integer("trans_a") != 0 ? 0 : 1];
  return 2 * inner * outputs[0].shape.numel();
}

TypeList infer_bias_add(Types inputs, const Attrs&) {
  expect_inputs("bias_add", inputs, 2);
  const tensor::TensorType &x = inputs[0], &b = inputs[1];
  expect_float("bias_add", "x", x);
  if (x.shape.rank() == 0 || b.shape != Shape{x.shape.last()} || x.dtype != b.dtype) {
    rule_broken("bias_add", cat("x is ", x.text(), ", b is ", b.text(),
                                "; want b.shape == [last size of x] and the same dtype"));
  }
  return {x};
}

template <typename T>
void bias_add_host(const KernelArgs& args, const Attrs&) {
  const Shape& shape = args.inputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  const T* b = args.inputs[1].as<const T>();
  T* y = args.outputs[0].as<T>();
  const std::int64_t rows = shape.rows(), n = shape.last();
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < n; ++j) y[i * n + j] = x[i * n + j] + b[j];
  }
}

std::vector<ValueId> bias_add_vjp(Graph& graph, const Node&, std::span<const ValueId> grads) {
  return {grads[0], graph.add_one("bias_grad", {grads[0]})};
}

TypeList infer_bias_grad(Types inputs, const Attrs&) {
  expect_inputs("bias_grad", inputs, 1);
  expect_float("bias_grad", "dy", inputs[0]);
  if (inputs[0].shape.rank() == 0) rule_broken("bias_grad", "dy is a scalar; want [..., n]");
  return {{{inputs[0].shape.last()}, inputs[0].dtype}};
}

template <typename T>
void column_sums(const T* x, std::int64_t rows, std::int64_t n, T* sums) {
  for (std::int64_t j = 0; j < n; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < rows; ++i) sum += static_cast<double>(x[i * n + j]);
    sums[j] = static_cast<T>(sum);
  }
}

template <typename T>
void bias_grad_host(const KernelArgs& args, const Attrs&) {
  const Shape& shape = args.inputs[0].type.shape;
  column_sums(args.inputs[0].as<const T>(), shape.rows(), shape.last(), args.outputs[0].as<T>());
}

TypeList infer_linear(Types inputs, const Attrs& attrs) {
  expect_inputs("linear", inputs, 3);
  const tensor::TensorType &x = inputs[0], &w = inputs[1], &b = inputs[2];
  expect_float("linear", "x", x);
  expect_rank("linear", "x", x, "[m, k]");
  expect_rank("linear", "w", w, "[k, n]");
  if (x.shape[1] != w.shape[0]) {
    rule_broken("linear", cat("inner sizes differ: ", x.shape.text(), " x ", w.shape.text(),
                              "; want x.shape[1] == w.shape[0]"));
  }
  if (b.shape != Shape{w.shape[1]}) {
    rule_broken("linear",
                cat("w is ", w.text(), ", b is ", b.text(), "; want b.shape == [w.shape[1]]"));
  }
  if (x.dtype != w.dtype || x.dtype != b.dtype) {
    rule_broken("linear", cat("x is ", x.text(), ", w is ", w.text(), ", b is ", b.text(),
                              "; want the same dtype"));
  }
  check_activation("linear", attrs);
  expect_precision("linear", attrs);
  return {{{x.shape[0], w.shape[1]}, x.dtype}};
}

template <typename T>
void linear_host(const KernelArgs& args, const Attrs& attrs) {
  const Activation& activation = activation_of("linear", attrs);
  const double alpha = activation_alpha(attrs);
  const Rounding rounding = rounding_of(attrs);
  const T* x = args.inputs[0].as<const T>();
  const T* w = args.inputs[1].as<const T>();
  const T* b = args.inputs[2].as<const T>();
  T* y = args.outputs[0].as<T>();
  const std::int64_t m = args.inputs[0].type.shape[0], inner = args.inputs[0].type.shape[1];
  const std::int64_t n = args.inputs[1].type.shape[1];
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < inner; ++k) {
        sum += operand(x[i * inner + k], rounding) * operand(w[k * n + j], rounding);
      }
      y[i * n + j] = static_cast<T>(activation.value(sum + static_cast<double>(b[j]), alpha));
    }
  }
}

std::vector<ValueId> linear_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  ValueId dpre = grads[0], db;
  if (node.attrs.word("activation", "none") == "none") {
    db = graph.add_one("bias_grad", {dpre});
  } else {
    const std::vector<ValueId> both =
        graph.add("activation_bias_grad", {node.outputs[0], grads[0]}, Attrs(node.attrs));
    dpre = both[0];
    db = both[1];
  }
  const ValueId dw = product(graph, node.inputs[0], dpre, true, false);
  const ValueId dx = product(graph, dpre, node.inputs[1], false, true);
  return {dx, dw, db};
}

std::int64_t linear_flops(Types inputs, Types outputs, const Attrs&) {
  return (2 * inputs[0].shape[1] + 1) * outputs[0].shape.numel();
}

TypeList infer_activation_bias_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("activation_bias_grad", inputs, 2);
  expect_float("activation_bias_grad", "y", inputs[0]);
  if (inputs[0].shape.rank() == 0) {
    rule_broken("activation_bias_grad", "y is a scalar; want [..., n]");
  }
  expect_same("activation_bias_grad", "y", inputs[0], "dy", inputs[1]);
  check_activation("activation_bias_grad", attrs);
  return {inputs[0], {{inputs[0].shape.last()}, inputs[0].dtype}};
}

template <typename T>
void activation_bias_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Activation& activation = activation_of("activation_bias_grad", attrs);
  const double alpha = activation_alpha(attrs);
  const Shape& shape = args.inputs[0].type.shape;
  const T* y = args.inputs[0].as<const T>();
  const T* dy = args.inputs[1].as<const T>();
  T* dx = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    dx[i] = static_cast<T>(
        activation.grad(static_cast<double>(y[i]), static_cast<double>(dy[i]), alpha));
  }
  column_sums<T>(dx, shape.rows(), shape.last(), args.outputs[1].as<T>());
}

}  // namespace

autodiff::OpDef make_matmul() {
  return {.name = "matmul",
          .infer = infer_matmul,
          .host = host_kernel<matmul_host<float>, matmul_host<double>>,
          .vjp = matmul_vjp,
          .flops = matmul_flops,
          .product = true};
}

autodiff::OpDef make_bias_add() {
  return {.name = "bias_add",
          .infer = infer_bias_add,
          .host = host_kernel<bias_add_host<float>, bias_add_host<double>>,
          .vjp = bias_add_vjp,
          .in_place = true,
          .pointwise = autodiff::Pointwise::repeats};
}

autodiff::OpDef make_bias_grad() {
  return {.name = "bias_grad",
          .infer = infer_bias_grad,
          .host = host_kernel<bias_grad_host<float>, bias_grad_host<double>>};
}

autodiff::OpDef make_linear() {
  return {.name = "linear",
          .infer = infer_linear,
          .host = host_kernel<linear_host<float>, linear_host<double>>,
          .vjp = linear_vjp,
          .flops = linear_flops,
          .product = true};
}

autodiff::OpDef make_activation_bias_grad() {
  return {.name = "activation_bias_grad",
          .infer = infer_activation_bias_grad,
          .host = host_kernel<activation_bias_grad_host<float>, activation_bias_grad_host<double>>,
          .in_place = true};
}

}  // namespace dlt::ops

// SPDX-License-Identifier: Apache-2.0
// Element-wise ops of one and two inputs, and their derivatives.
#include <algorithm>
#include <cmath>
#include <string>

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

using Grads = std::span<const ValueId>;
using Ids = std::vector<ValueId>;

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrt2OverPi = 0.79788456080286535588;
constexpr double kInvSqrt2Pi = 0.39894228040143267794;
constexpr double kGeluCubic = 0.044715;

double alpha_of(const Attrs& attrs) { return attrs.number("alpha", 0.01); }
double tanh_form(const Attrs& attrs) { return attrs.word("approximate", "none") == "tanh" ? 1 : 0; }

double exp_of(double x, double) { return std::exp(x); }
double log_of(double x, double) { return std::log(x); }
double neg_of(double x, double) { return -x; }
double square_of(double x, double) { return x * x; }
double abs_of(double x, double) { return std::abs(x); }
double sqrt_of(double x, double) { return std::sqrt(x); }
double silu_of(double x, double) { return x * sigmoid(x, 0); }

/// source  Hendrycks & Gimpel 2016, arXiv:1606.08415
double gelu_of(double x, double approximate) {
  if (approximate == 0) return 0.5 * x * (1.0 + std::erf(x * kSqrtHalf));
  return 0.5 * x * (1.0 + std::tanh(kSqrt2OverPi * (x + kGeluCubic * x * x * x)));
}
double gelu_grad_of(double x, double dy, double approximate) {
  if (approximate == 0) {
    const double cdf = 0.5 * (1.0 + std::erf(x * kSqrtHalf));
    return dy * (cdf + x * kInvSqrt2Pi * std::exp(-0.5 * x * x));
  }
  const double t = std::tanh(kSqrt2OverPi * (x + kGeluCubic * x * x * x));
  const double inner = kSqrt2OverPi * (1.0 + 3.0 * kGeluCubic * x * x);
  return dy * 0.5 * (1.0 + t + x * (1.0 - t * t) * inner);
}
double silu_grad_of(double x, double dy, double) {
  const double s = sigmoid(x, 0);
  return dy * s * (1.0 + x * (1.0 - s));
}
double abs_grad_of(double x, double dy, double) { return x > 0 ? dy : x < 0 ? -dy : 0.0; }

double add_of(double a, double b, double) { return a + b; }
double sub_of(double a, double b, double) { return a - b; }
double mul_of(double a, double b, double) { return a * b; }
double div_of(double a, double b, double) { return a / b; }

/// The derivative is an op of its own on (output, dy), with this node's attributes.
template <OpName kGrad>
Ids vjp_from_output(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one(kGrad.view(), {node.outputs[0], grads[0]}, Attrs(node.attrs))};
}
/// ... on (input, dy).
template <OpName kGrad>
Ids vjp_from_input(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one(kGrad.view(), {node.inputs[0], grads[0]}, Attrs(node.attrs))};
}

Ids exp_vjp(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one("mul", {grads[0], node.outputs[0]})};
}
Ids log_vjp(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one("div", {grads[0], node.inputs[0]})};
}
Ids neg_vjp(Graph& graph, const Node&, Grads grads) { return {graph.add_one("neg", {grads[0]})}; }
Ids square_vjp(Graph& graph, const Node& node, Grads grads) {
  const ValueId twice = graph.add_one("scale", {node.inputs[0]}, {{"factor", 2.0}});
  return {graph.add_one("mul", {twice, grads[0]})};
}
Ids sqrt_vjp(Graph& graph, const Node& node, Grads grads) {
  const ValueId half = graph.add_one("scale", {grads[0]}, {{"factor", 0.5}});
  return {graph.add_one("div", {half, node.outputs[0]})};
}

Ids add_vjp(Graph&, const Node&, Grads grads) { return {grads[0], grads[0]}; }
Ids sub_vjp(Graph& graph, const Node&, Grads grads) {
  return {grads[0], graph.add_one("neg", {grads[0]})};
}
Ids mul_vjp(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one("mul", {grads[0], node.inputs[1]}),
          graph.add_one("mul", {grads[0], node.inputs[0]})};
}
/// d(a/b)/db = -(a/b) / b
Ids div_vjp(Graph& graph, const Node& node, Grads grads) {
  const ValueId product = graph.add_one("mul", {grads[0], node.outputs[0]});
  const ValueId quotient = graph.add_one("div", {product, node.inputs[1]});
  return {graph.add_one("div", {grads[0], node.inputs[1]}), graph.add_one("neg", {quotient})};
}

TypeList infer_leaky_relu(Types inputs, const Attrs& attrs) {
  expect_number("leaky_relu", "alpha", alpha_of(attrs), alpha_of(attrs) >= 0, "alpha >= 0");
  return infer_unary<"leaky_relu">(inputs, attrs);
}

TypeList infer_gelu(Types inputs, const Attrs& attrs) {
  const std::string word = attrs.word("approximate", "none");
  if (word != "none" && word != "tanh") {
    rule_broken("gelu", cat("approximate is ", printable(word), "; want none or tanh"));
  }
  return infer_unary<"gelu">(inputs, attrs);
}

template <typename T>
void scale_host(const tensor::KernelArgs& args, const Attrs& attrs) {
  const double factor = attrs.number("factor", 1.0), offset = attrs.number("offset", 0.0);
  const T* x = args.inputs[0].as<const T>();
  T* y = args.outputs[0].as<T>();
  const std::int64_t numel = args.outputs[0].numel();
  for (std::int64_t i = 0; i < numel; ++i) {
    y[i] = static_cast<T>(static_cast<double>(x[i]) * factor + offset);
  }
}
Ids scale_vjp(Graph& graph, const Node& node, Grads grads) {
  return {graph.add_one("scale", {grads[0]}, {{"factor", node.attrs.number("factor", 1.0)}})};
}

OpDef elementwise(std::string_view name, autodiff::Infer infer, tensor::HostKernelFactory host,
                  autodiff::Vjp vjp) {
  return {.name = name,
          .infer = infer,
          .host = host,
          .vjp = vjp,
          .in_place = true,
          .in_place_all = true,
          .pointwise = autodiff::Pointwise::each};
}

OpDef no_vjp(std::string_view name, autodiff::Infer infer, tensor::HostKernelFactory host) {
  return {.name = name,
          .infer = infer,
          .host = host,
          .in_place = true,
          .in_place_all = true,
          .pointwise = autodiff::Pointwise::each};
}

}  // namespace

// One input, derivative from the output.
OpDef make_relu() {
  return elementwise("relu", infer_unary<"relu">, unary_kernel<relu>, vjp_from_output<"relu_grad">);
}
OpDef make_leaky_relu() {
  return elementwise("leaky_relu", infer_leaky_relu, unary_kernel<leaky_relu, alpha_of>,
                     vjp_from_output<"leaky_relu_grad">);
}
OpDef make_tanh() {
  return elementwise("tanh", infer_unary<"tanh">, unary_kernel<tanh_of>,
                     vjp_from_output<"tanh_grad">);
}
OpDef make_sigmoid() {
  return elementwise("sigmoid", infer_unary<"sigmoid">, unary_kernel<sigmoid>,
                     vjp_from_output<"sigmoid_grad">);
}
OpDef make_softplus() {
  return elementwise("softplus", infer_unary<"softplus">, unary_kernel<softplus>,
                     vjp_from_output<"softplus_grad">);
}
OpDef make_exp() { return elementwise("exp", infer_unary<"exp">, unary_kernel<exp_of>, exp_vjp); }
OpDef make_sqrt() {
  return elementwise("sqrt", infer_unary<"sqrt">, unary_kernel<sqrt_of>, sqrt_vjp);
}

// One input, derivative from the input.
OpDef make_silu() {
  return elementwise("silu", infer_unary<"silu">, unary_kernel<silu_of>,
                     vjp_from_input<"silu_grad">);
}
OpDef make_gelu() {
  return elementwise("gelu", infer_gelu, unary_kernel<gelu_of, tanh_form>,
                     vjp_from_input<"gelu_grad">);
}
OpDef make_abs() {
  return elementwise("abs", infer_unary<"abs">, unary_kernel<abs_of>, vjp_from_input<"abs_grad">);
}
OpDef make_log() { return elementwise("log", infer_unary<"log">, unary_kernel<log_of>, log_vjp); }
OpDef make_neg() { return elementwise("neg", infer_unary<"neg">, unary_kernel<neg_of>, neg_vjp); }
OpDef make_square() {
  return elementwise("square", infer_unary<"square">, unary_kernel<square_of>, square_vjp);
}
OpDef make_scale() {
  return elementwise("scale", infer_unary<"scale">,
                     host_kernel<scale_host<float>, scale_host<double>>, scale_vjp);
}

// Derivatives: (output or input, dy).
OpDef make_relu_grad() {
  return no_vjp("relu_grad", infer_grad<"relu_grad">, binary_kernel<relu_grad>);
}
OpDef make_leaky_relu_grad() {
  return no_vjp("leaky_relu_grad", infer_grad<"leaky_relu_grad">,
                binary_kernel<leaky_relu_grad, alpha_of>);
}
OpDef make_tanh_grad() {
  return no_vjp("tanh_grad", infer_grad<"tanh_grad">, binary_kernel<tanh_grad>);
}
OpDef make_sigmoid_grad() {
  return no_vjp("sigmoid_grad", infer_grad<"sigmoid_grad">, binary_kernel<sigmoid_grad>);
}
OpDef make_softplus_grad() {
  return no_vjp("softplus_grad", infer_grad<"softplus_grad">, binary_kernel<softplus_grad>);
}
OpDef make_silu_grad() {
  return no_vjp("silu_grad", infer_grad<"silu_grad">, binary_kernel<silu_grad_of>);
}
OpDef make_gelu_grad() {
  return no_vjp("gelu_grad", infer_grad<"gelu_grad">, binary_kernel<gelu_grad_of, tanh_form>);
}
OpDef make_abs_grad() {
  return no_vjp("abs_grad", infer_grad<"abs_grad">, binary_kernel<abs_grad_of>);
}

// Two inputs.
OpDef make_add() { return elementwise("add", infer_binary<"add">, binary_kernel<add_of>, add_vjp); }
OpDef make_sub() { return elementwise("sub", infer_binary<"sub">, binary_kernel<sub_of>, sub_vjp); }
OpDef make_mul() { return elementwise("mul", infer_binary<"mul">, binary_kernel<mul_of>, mul_vjp); }
OpDef make_div() { return elementwise("div", infer_binary<"div">, binary_kernel<div_of>, div_vjp); }

}  // namespace dlt::ops

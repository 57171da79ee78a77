// SPDX-License-Identifier: Apache-2.0
// conv2d, conv2d_input_grad, conv2d_weight_grad. The three are each other's derivatives: the
// convolution is linear in x and in the weight.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/activation.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"
#include "tensor/conv_geometry.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::conv_geometry;
using tensor::ConvGeometry;
using tensor::KernelArgs;
using tensor::Shape;
using tensor::TensorType;

constexpr const char* kImage = "[B, H, W, C]";
constexpr const char* kWeight = "[kernel_h, kernel_w, channels in / groups, channels out]";

void expect_dtype(std::string_view op, std::string_view a, const TensorType& first,
                  std::string_view b, const TensorType& second) {
  if (first.dtype == second.dtype) return;
  rule_broken(
      op, cat(a, " is ", first.text(), ", ", b, " is ", second.text(), "; want the same dtype"));
}

TypeList infer_conv2d(Types inputs, const Attrs& attrs) {
  DLT_CHECK(inputs.size() == 2 || inputs.size() == 3, cat("conv2d: ", inputs.size()));
  const TensorType &x = inputs[0], &w = inputs[1];
  expect_float("conv2d", "x", x);
  expect_precision("conv2d", attrs);
  expect_rank("conv2d", "x", x, kImage);
  expect_rank("conv2d", "weight", w, kWeight);
  expect_dtype("conv2d", "x", x, "weight", w);
  const ConvGeometry g = conv_geometry("conv2d", x.shape, w.shape, attrs);
  if (inputs.size() == 3 &&
      (inputs[2].shape != Shape{g.out_channels} || inputs[2].dtype != x.dtype)) {
    rule_broken("conv2d", cat("weight is ", w.text(), ", bias is ", inputs[2].text(),
                              "; want bias.shape == [weight.shape[3]] and the same dtype"));
  }
  check_activation("conv2d", attrs);
  return {{g.output(), x.dtype}};
}

/// The input of a convolution from the gradient of its output: sizes in_h, in_w of the attributes.
TypeList infer_input_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("conv2d_input_grad", inputs, 2);
  const TensorType &dy = inputs[0], &w = inputs[1];
  expect_float("conv2d_input_grad", "dy", dy);
  expect_precision("conv2d_input_grad", attrs);
  expect_rank("conv2d_input_grad", "dy", dy, kImage);
  expect_rank("conv2d_input_grad", "weight", w, kWeight);
  expect_dtype("conv2d_input_grad", "dy", dy, "weight", w);
  const Shape x{dy.shape[0], attrs.integer("in_h"), attrs.integer("in_w"),
                w.shape[2] * attrs.integer("groups", 1)};
  const ConvGeometry g = conv_geometry("conv2d_input_grad", x, w.shape, attrs);
  if (dy.shape != g.output()) {
    rule_broken("conv2d_input_grad", cat("dy is ", dy.text(), "; want ", g.output().text(),
                                         " from x ", x.text(), " and weight ", w.shape.text()));
  }
  return {{x, dy.dtype}};
}

TypeList infer_weight_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("conv2d_weight_grad", inputs, 2);
  const TensorType &x = inputs[0], &dy = inputs[1];
  expect_float("conv2d_weight_grad", "x", x);
  expect_precision("conv2d_weight_grad", attrs);
  expect_rank("conv2d_weight_grad", "x", x, kImage);
  expect_rank("conv2d_weight_grad", "dy", dy, kImage);
  expect_dtype("conv2d_weight_grad", "x", x, "dy", dy);
  const std::int64_t groups = std::max<std::int64_t>(attrs.integer("groups", 1), 1);
  const Shape weight{attrs.integer("kernel_h"), attrs.integer("kernel_w"), x.shape[3] / groups,
                     dy.shape[3]};
  const ConvGeometry g = conv_geometry("conv2d_weight_grad", x.shape, weight, attrs);
  if (dy.shape != g.output()) {
    rule_broken("conv2d_weight_grad", cat("dy is ", dy.text(), "; want ", g.output().text(),
                                          " from x ", x.text(), " and weight ", weight.text()));
  }
  return {{weight, x.dtype}};
}

/// One product of the sums: which elements of x, weight and y belong together.
struct Term {
  std::int64_t x, weight, y;
};

/// Calls visit(term) for every product of a convolution.
template <typename Visit>
void for_each_term(const ConvGeometry& g, const Visit& visit) {
  const std::int64_t group_in = g.group_in(), group_out = g.group_out();
  const auto each_pixel = [&](std::int64_t y_pixel, std::int64_t x_pixel, std::int64_t tap) {
    for (std::int64_t out = 0; out < g.out_channels; ++out) {
      const std::int64_t first = out / group_out * group_in;
      for (std::int64_t in = 0; in < group_in; ++in) {
        visit(Term{x_pixel * g.in_channels + first + in,
                   (tap * group_in + in) * g.out_channels + out, y_pixel * g.out_channels + out});
      }
    }
  };
  const auto each_tap = [&](std::int64_t b, std::int64_t h, std::int64_t w) {
    for (std::int64_t r = 0; r < g.kernel_h; ++r) {
      for (std::int64_t s = 0; s < g.kernel_w; ++s) {
        const std::int64_t row = h * g.stride_h + r * g.dilation_h - g.pad_top;
        const std::int64_t column = w * g.stride_w + s * g.dilation_w - g.pad_left;
        if (row < 0 || row >= g.in_h || column < 0 || column >= g.in_w) continue;
        each_pixel((b * g.out_h + h) * g.out_w + w, (b * g.in_h + row) * g.in_w + column,
                   r * g.kernel_w + s);
      }
    }
  };
  for (std::int64_t b = 0; b < g.batch; ++b) {
    for (std::int64_t h = 0; h < g.out_h; ++h) {
      for (std::int64_t w = 0; w < g.out_w; ++w) each_tap(b, h, w);
    }
  }
}

template <typename T>
void store(const std::vector<double>& sums, T* out) {
  for (std::size_t i = 0; i < sums.size(); ++i) out[i] = static_cast<T>(sums[i]);
}

std::vector<double> zeros(const Shape& shape) {
  return std::vector<double>(static_cast<std::size_t>(shape.numel()));
}

Rounding conv_rounding(const ConvGeometry& g, const Attrs& attrs) {
  return g.rounds() ? rounding_of(attrs) : Rounding::none;
}

template <typename T>
void conv2d_host(const KernelArgs& args, const Attrs& attrs) {
  const ConvGeometry g =
      conv_geometry("conv2d", args.inputs[0].type.shape, args.inputs[1].type.shape, attrs);
  const T* x = args.inputs[0].as<const T>();
  const T* weight = args.inputs[1].as<const T>();
  const Rounding rounding = conv_rounding(g, attrs);
  std::vector<double> sums = zeros(g.output());
  for_each_term(g, [&](const Term& t) {
    sums[static_cast<std::size_t>(t.y)] +=
        operand(x[t.x], rounding) * operand(weight[t.weight], rounding);
  });
  const Activation& activation = activation_of("conv2d", attrs);
  const double alpha = activation_alpha(attrs);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (args.inputs.size() > 2) {
      sums[i] += static_cast<double>(
          args.inputs[2].as<const T>()[i % static_cast<std::size_t>(g.out_channels)]);
    }
    sums[i] = activation.value(sums[i], alpha);
  }
  store(sums, args.outputs[0].as<T>());
}

template <typename T>
void input_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const ConvGeometry g = conv_geometry("conv2d_input_grad", args.outputs[0].type.shape,
                                       args.inputs[1].type.shape, attrs);
  const T* dy = args.inputs[0].as<const T>();
  const T* weight = args.inputs[1].as<const T>();
  const Rounding rounding = conv_rounding(g, attrs);
  std::vector<double> sums = zeros(g.input());
  for_each_term(g, [&](const Term& t) {
    sums[static_cast<std::size_t>(t.x)] +=
        operand(dy[t.y], rounding) * operand(weight[t.weight], rounding);
  });
  store(sums, args.outputs[0].as<T>());
}

template <typename T>
void weight_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const ConvGeometry g = conv_geometry("conv2d_weight_grad", args.inputs[0].type.shape,
                                       args.outputs[0].type.shape, attrs);
  const T* x = args.inputs[0].as<const T>();
  const T* dy = args.inputs[1].as<const T>();
  const Rounding rounding = conv_rounding(g, attrs);
  std::vector<double> sums = zeros(g.weight());
  for_each_term(g, [&](const Term& t) {
    sums[static_cast<std::size_t>(t.weight)] +=
        operand(x[t.x], rounding) * operand(dy[t.y], rounding);
  });
  store(sums, args.outputs[0].as<T>());
}

/// The attributes that say how a kernel moves, without those of one op alone.
Attrs movement(const Attrs& attrs) {
  Attrs result;
  for (const char* name : {"stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top",
                           "pad_left", "pad_bottom", "pad_right", "groups"}) {
    const auto found = attrs.values().find(name);
    if (found != attrs.values().end()) result.set(name, found->second);
  }
  return result;
}

ValueId convolution(Graph& graph, const Attrs& attrs, ValueId x, ValueId weight) {
  return graph.add_one("conv2d", {x, weight}, movement(attrs));
}

ValueId input_grad(Graph& graph, const Attrs& attrs, Shape x, ValueId dy, ValueId weight) {
  Attrs all = movement(attrs);
  all.set("in_h", x[1]);
  all.set("in_w", x[2]);
  return graph.add_one("conv2d_input_grad", {dy, weight}, std::move(all));
}

ValueId weight_grad(Graph& graph, const Attrs& attrs, Shape weight, ValueId x, ValueId dy) {
  Attrs all = movement(attrs);
  all.set("kernel_h", weight[0]);
  all.set("kernel_w", weight[1]);
  return graph.add_one("conv2d_weight_grad", {x, dy}, std::move(all));
}

std::vector<ValueId> conv2d_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  const ValueId x = node.inputs[0], weight = node.inputs[1];
  const std::string activation = node.attrs.word("activation", "none");
  const bool biased = node.inputs.size() > 2;
  ValueId dpre = grads[0], db;
  Attrs alpha;
  if (activation == "leaky_relu") alpha.set("alpha", activation_alpha(node.attrs));
  if (biased && activation == "none") {
    db = graph.add_one("bias_grad", {dpre});
  } else if (biased) {
    alpha.set("activation", activation);
    const std::vector<ValueId> both =
        graph.add("activation_bias_grad", {node.outputs[0], dpre}, std::move(alpha));
    dpre = both[0];
    db = both[1];
  } else if (activation != "none") {
    dpre = graph.add_one(activation + "_grad", {node.outputs[0], dpre}, std::move(alpha));
  }
  std::vector<ValueId> result{input_grad(graph, node.attrs, graph.shape(x), dpre, weight),
                              weight_grad(graph, node.attrs, graph.shape(weight), x, dpre)};
  if (biased) result.push_back(db);
  return result;
}

/// dx = C^T(dy, w): the gradient of dy is C(ddx, w), that of w what w gets if x is ddx.
std::vector<ValueId> input_grad_vjp(Graph& graph, const Node& node,
                                    std::span<const ValueId> grads) {
  const ValueId dy = node.inputs[0], w = node.inputs[1];
  const ValueId d_dy = convolution(graph, node.attrs, grads[0], w);
  return {d_dy, weight_grad(graph, node.attrs, graph.shape(w), grads[0], dy)};
}

std::vector<ValueId> weight_grad_vjp(Graph& graph, const Node& node,
                                     std::span<const ValueId> grads) {
  const ValueId x = node.inputs[0], dy = node.inputs[1];
  const ValueId dx = input_grad(graph, node.attrs, graph.shape(x), dy, grads[0]);
  return {dx, convolution(graph, node.attrs, x, grads[0])};
}

std::int64_t conv2d_flops(Types inputs, Types, const Attrs& attrs) {
  const ConvGeometry g = conv_geometry("conv2d", inputs[0].shape, inputs[1].shape, attrs);
  return g.flops() + (inputs.size() > 2 ? g.output().numel() : 0);
}
std::int64_t input_grad_flops(Types inputs, Types outputs, const Attrs& attrs) {
  return conv_geometry("conv2d_input_grad", outputs[0].shape, inputs[1].shape, attrs).flops();
}
std::int64_t weight_grad_flops(Types inputs, Types outputs, const Attrs& attrs) {
  return conv_geometry("conv2d_weight_grad", inputs[0].shape, outputs[0].shape, attrs).flops();
}

}  // namespace

autodiff::OpDef make_conv2d() {
  return {.name = "conv2d",
          .infer = infer_conv2d,
          .host = host_kernel<conv2d_host<float>, conv2d_host<double>>,
          .vjp = conv2d_vjp,
          .flops = conv2d_flops,
          .product = true};
}

autodiff::OpDef make_conv2d_input_grad() {
  return {.name = "conv2d_input_grad",
          .infer = infer_input_grad,
          .host = host_kernel<input_grad_host<float>, input_grad_host<double>>,
          .vjp = input_grad_vjp,
          .flops = input_grad_flops,
          .product = true};
}

autodiff::OpDef make_conv2d_weight_grad() {
  return {.name = "conv2d_weight_grad",
          .infer = infer_weight_grad,
          .host = host_kernel<weight_grad_host<float>, weight_grad_host<double>>,
          .vjp = weight_grad_vjp,
          .flops = weight_grad_flops,
          .product = true};
}

}  // namespace dlt::ops

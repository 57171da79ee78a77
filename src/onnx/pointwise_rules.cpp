// SPDX-License-Identifier: Apache-2.0
// Ops that go element by element, products, and shapes.
#include <algorithm>
#include <array>
#include <cmath>

#include "onnx/builder.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using Names = std::vector<std::string>;

/// Whether an element-wise node is written with the channels in front, as its inputs are.
bool stays_first(const Builder& b, const Node& node) {
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId id) { return b.only_channels_first(id); });
}

/// Names of the inputs in the one form or the other, and where the result goes.
template <typename Write>
void elementwise(Builder& b, const Node& node, Write write) {
  const bool first = stays_first(b, node);
  Names inputs;
  for (const ValueId id : node.inputs) inputs.push_back(first ? b.channels_first(id) : b.name(id));
  const std::string result = write(inputs);
  if (first) {
    b.set_channels_first(node.outputs[0], result);
  } else {
    b.set(node.outputs[0], result);
  }
}

/// An op that ONNX has under another spelling and otherwise alike.
void plain(Builder& b, const Node& node) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kNames = {
      {{"abs", "Abs"},
       {"add", "Add"},
       {"copy", "Identity"},
       {"div", "Div"},
       {"exp", "Exp"},
       {"log", "Log"},
       {"mul", "Mul"},
       {"neg", "Neg"},
       {"relu", "Relu"},
       {"sigmoid", "Sigmoid"},
       {"softplus", "Softplus"},
       {"sqrt", "Sqrt"},
       {"sub", "Sub"},
       {"sync_sum", "Identity"},
       {"tanh", "Tanh"}}};
  const auto* found = std::find_if(kNames.begin(), kNames.end(),
                                   [&](const auto& pair) { return pair.first == node.op->name; });
  elementwise(b, node, [&](const Names& x) { return b.add(found->second, x); });
}

void square(Builder& b, const Node& node) {
  elementwise(b, node, [&](const Names& x) { return b.add("Mul", {x[0], x[0]}); });
}

void silu(Builder& b, const Node& node) {
  elementwise(b, node, [&](const Names& x) { return b.add("Mul", {x[0], b.add("Sigmoid", x)}); });
}

void leaky_relu(Builder& b, const Node& node) {
  const auto alpha = static_cast<float>(node.attrs.number("alpha", 0.01));
  elementwise(b, node, [&](const Names& x) { return b.add("LeakyRelu", x, {{"alpha", alpha}}); });
}

void gelu(Builder& b, const Node& node) {
  elementwise(b, node, [&](const Names& x) {
    std::string inner;
    if (node.attrs.word("approximate", "none") == "tanh") {
      const std::string cube = b.add("Mul", {b.add("Mul", {x[0], x[0]}), x[0]});
      const std::string sum = b.add("Add", {x[0], b.add("Mul", {cube, b.scalar(0.044715)})});
      inner = b.add("Tanh", {b.add("Mul", {sum, b.scalar(std::sqrt(2 / M_PI))})});
    } else {
      inner = b.add("Erf", {b.add("Mul", {x[0], b.scalar(std::sqrt(0.5))})});
    }
    const std::string half = b.add("Mul", {x[0], b.scalar(0.5)});
    return b.add("Mul", {half, b.add("Add", {inner, b.scalar(1)})});
  });
}

void scale(Builder& b, const Node& node) {
  const double factor = node.attrs.number("factor", 1), offset = node.attrs.number("offset", 0);
  elementwise(b, node, [&](const Names& x) {
    std::string y = x[0];
    if (factor != 1) y = b.add("Mul", {y, b.scalar(factor)});
    if (offset != 0) y = b.add("Add", {y, b.scalar(offset)});
    return y == x[0] ? b.add("Identity", x) : y;
  });
}

void bias_add(Builder& b, const Node& node) {
  b.set(node.outputs[0], b.add("Add", {b.name(node.inputs[0]), b.name(node.inputs[1])}));
}

void matmul(Builder& b, const Node& node) {
  b.set(node.outputs[0], b.add("Gemm", {b.name(node.inputs[0]), b.name(node.inputs[1])},
                               {{"transA", node.attrs.integer("trans_a")},
                                {"transB", node.attrs.integer("trans_b")}}));
}

void linear(Builder& b, const Node& node) {
  const std::string sum =
      b.add("Gemm", {b.name(node.inputs[0]), b.name(node.inputs[1]), b.name(node.inputs[2])});
  b.set(node.outputs[0], b.activate(sum, node.attrs));
}

void softmax(Builder& b, const Node& node) {
  const bool logarithm = node.op->name == "log_softmax";
  b.set(node.outputs[0], b.add(logarithm ? "LogSoftmax" : "Softmax", {b.name(node.inputs[0])},
                               {{"axis", std::int64_t{-1}}}));
}

void reshape(Builder& b, const Node& node) {
  b.set(node.outputs[0], b.reshape(b.name(node.inputs[0]), b.dims(node.outputs[0])));
}

void concat(Builder& b, const Node& node) {
  const std::int64_t axis = stays_first(b, node) ? 1 : -1;
  elementwise(b, node, [&](const Names& x) { return b.add("Concat", x, {{"axis", axis}}); });
}

void slice(Builder& b, const Node& node) {
  const std::int64_t begin = node.attrs.integer("begin");
  b.set(node.outputs[0],
        b.slice(b.name(node.inputs[0]), -1, begin, begin + node.attrs.integer("size")));
}

void fill(Builder& b, const Node& node) {
  const ValueId out = node.outputs[0];
  for (const std::int64_t size : b.dims(out)) {
    if (size < 0) b.refuse("of a size that grows with the samples has no equivalent in ONNX");
  }
  const tensor::Tensor numbers(b.shape(out), DType::f32);
  const auto values = numbers.as<float>();
  std::fill(values.begin(), values.end(), static_cast<float>(node.attrs.number("value")));
  b.set(out, b.constant("fill", numbers));
}

void sum_rows(Builder& b, const Node& node) {
  std::vector<std::int64_t> axes;
  for (int axis = 1; axis < b.shape(node.inputs[0]).rank(); ++axis) axes.push_back(axis);
  b.set(node.outputs[0], b.add("ReduceSum", {b.name(node.inputs[0]), b.integers(axes)},
                               {{"keepdims", std::int64_t{0}}}));
}

}  // namespace

std::span<const Rule> pointwise_rules() {
  static constexpr std::array<Rule, 30> kRules = {
      {{"abs", plain},           {"add", plain},
       {"bias_add", bias_add},   {"concat", concat},
       {"copy", plain},          {"div", plain},
       {"exp", plain},           {"fill", fill},
       {"gelu", gelu},           {"leaky_relu", leaky_relu},
       {"linear", linear},       {"log", plain},
       {"log_softmax", softmax}, {"matmul", matmul},
       {"mul", plain},           {"neg", plain},
       {"relu", plain},          {"reshape", reshape},
       {"scale", scale},         {"sigmoid", plain},
       {"silu", silu},           {"slice", slice},
       {"softmax", softmax},     {"softplus", plain},
       {"sqrt", plain},          {"square", square},
       {"sub", plain},           {"sum_rows", sum_rows},
       {"sync_sum", plain},      {"tanh", plain}}};
  return kRules;
}

}  // namespace dlt::onnx

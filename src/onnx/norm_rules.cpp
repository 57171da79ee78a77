// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "onnx/builder.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using Sizes = std::vector<std::int64_t>;

float eps_of(const Node& node) { return static_cast<float>(node.attrs.number("eps", 1e-5)); }

void batch_norm(Builder& b, const Node& node) {
  std::vector<std::string> inputs{b.channels_first(node.inputs[0])};
  for (std::size_t i = 1; i < 5; ++i) inputs.push_back(b.name(node.inputs[i]));
  std::string y = b.add("BatchNormalization", inputs, {{"epsilon", eps_of(node)}});
  if (node.inputs.size() > 5) y = b.add("Add", {y, b.channels_first(node.inputs[5])});
  y = b.activate(y, node.attrs);
  if (b.shape(node.outputs[0]).rank() == 2) {
    b.set(node.outputs[0], y);
  } else {
    b.set_channels_first(node.outputs[0], y);
  }
}

std::string layer_norm_of(Builder& b, const Node& node, const std::string& x, std::size_t gamma) {
  return b.add("LayerNormalization",
               {x, b.name(node.inputs[gamma]), b.name(node.inputs[gamma + 1])},
               {{"axis", std::int64_t{-1}}, {"epsilon", eps_of(node)}});
}

void layer_norm(Builder& b, const Node& node) {
  b.set(node.outputs[0], layer_norm_of(b, node, b.name(node.inputs[0]), 1));
}

void add_layer_norm(Builder& b, const Node& node) {
  const std::string sum = b.add("Add", {b.name(node.inputs[0]), b.name(node.inputs[1])});
  b.set(node.outputs[0], sum);
  b.set(node.outputs[1], layer_norm_of(b, node, sum, 2));
}

/// x / √(mean of x² over the axes + eps)
std::string over_root_mean_square(Builder& b, const Node& node, const std::string& x,
                                  const Sizes& axes) {
  const std::string mean = b.add("ReduceMean", {b.add("Mul", {x, x})}, {{"axes", axes}});
  return b.add("Div", {x, b.add("Sqrt", {b.add("Add", {mean, b.scalar(eps_of(node))})})});
}

void rms_norm(Builder& b, const Node& node) {
  const std::string y = over_root_mean_square(b, node, b.name(node.inputs[0]), {-1});
  b.set(node.outputs[0], b.add("Mul", {y, b.name(node.inputs[1])}));
}

/// As [samples, places, groups, channels of a group].
void group_norm(Builder& b, const Node& node) {
  const ValueId x = node.inputs[0];
  const tensor::Shape& shape = b.shape(x);
  const std::int64_t channels = shape.last(), groups = node.attrs.integer("groups", 1);
  const std::int64_t places = shape.without_front().numel() / channels;
  const std::string cut = b.reshape(b.name(x), {-1, places, groups, channels / groups});
  const Sizes axes{1, 3};
  const std::string centred = b.add("Sub", {cut, b.add("ReduceMean", {cut}, {{"axes", axes}})});
  const std::string y =
      b.reshape(over_root_mean_square(b, node, centred, axes), b.dims(node.outputs[0]));
  b.set(node.outputs[0],
        b.add("Add", {b.add("Mul", {y, b.name(node.inputs[1])}), b.name(node.inputs[2])}));
}

}  // namespace

std::span<const Rule> norm_rules() {
  static constexpr std::array<Rule, 5> kRules = {{{"add_layer_norm", add_layer_norm},
                                                  {"batch_norm_inference", batch_norm},
                                                  {"group_norm", group_norm},
                                                  {"layer_norm", layer_norm},
                                                  {"rms_norm", rms_norm}}};
  return kRules;
}

}  // namespace dlt::onnx

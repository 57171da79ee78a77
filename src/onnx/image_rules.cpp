// SPDX-License-Identifier: Apache-2.0
// ONNX has images with the channels in front, and conv weights as [out, in, height, width].
#include <array>

#include "onnx/builder.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using tensor::Shape;
using tensor::Tensor;
using Sizes = std::vector<std::int64_t>;

/// [kh, kw, in, out] to [out, in, kh, kw]
Tensor out_in_height_width(const Tensor& weight) {
  const Shape& s = weight.shape();
  Tensor out({s[3], s[2], s[0], s[1]}, DType::f32);
  const auto from = weight.as<float>();
  const auto to = out.as<float>();
  const std::int64_t places = s[0] * s[1], in = s[2], num_out = s[3];
  for (std::int64_t p = 0; p < places; ++p) {
    for (std::int64_t i = 0; i < in; ++i) {
      for (std::int64_t o = 0; o < num_out; ++o) {
        to[static_cast<std::size_t>((o * in + i) * places + p)] =
            from[static_cast<std::size_t>((p * in + i) * num_out + o)];
      }
    }
  }
  return out;
}

std::string weight_of(Builder& b, ValueId id) {
  return b.constant(b.param_name(id), out_in_height_width(b.param(id)));
}

Sizes pads_of(const tensor::Attrs& attrs) {
  return {attrs.integer("pad_top"), attrs.integer("pad_left"), attrs.integer("pad_bottom"),
          attrs.integer("pad_right")};
}

Attributes conv_attributes(const Node& node, const Shape& weight) {
  const tensor::Attrs& a = node.attrs;
  return {{"kernel_shape", Sizes{weight[0], weight[1]}},
          {"strides", Sizes{a.integer("stride_h", 1), a.integer("stride_w", 1)}},
          {"dilations", Sizes{a.integer("dilation_h", 1), a.integer("dilation_w", 1)}},
          {"group", a.integer("groups", 1)},
          {"pads", pads_of(a)}};
}

void conv2d(Builder& b, const Node& node) {
  std::vector<std::string> inputs{b.channels_first(node.inputs[0]), weight_of(b, node.inputs[1])};
  if (node.inputs.size() > 2) inputs.push_back(b.name(node.inputs[2]));
  const std::string y = b.add("Conv", inputs, conv_attributes(node, b.shape(node.inputs[1])));
  b.set_channels_first(node.outputs[0], b.activate(y, node.attrs));
}

/// As a forward op: the transposed convolution, whose input has the channels that conv2d puts out.
void conv2d_input_grad(Builder& b, const Node& node) {
  const Shape &x = b.shape(node.inputs[0]), &weight = b.shape(node.inputs[1]);
  Attributes attributes = conv_attributes(node, weight);
  const Sizes pads = pads_of(node.attrs);
  const auto rest = [&](int axis, const char* stride, const char* dilation, const char* size) {
    const std::int64_t reach = node.attrs.integer(dilation, 1) * (weight[axis] - 1) + 1;
    const auto side = static_cast<std::size_t>(axis);
    return node.attrs.integer(size) - (node.attrs.integer(stride, 1) * (x[axis + 1] - 1) + reach -
                                       pads[side] - pads[side + 2]);
  };
  attributes.emplace_back("output_padding", Sizes{rest(0, "stride_h", "dilation_h", "in_h"),
                                                  rest(1, "stride_w", "dilation_w", "in_w")});
  b.set_channels_first(
      node.outputs[0],
      b.add("ConvTranspose", {b.channels_first(node.inputs[0]), weight_of(b, node.inputs[1])},
            attributes));
}

void pool(Builder& b, const Node& node) {
  const bool average = node.op->name == "avg_pool2d";
  Attributes attributes{{"kernel_shape", node.attrs.integers("window")},
                        {"strides", node.attrs.integers("strides")},
                        {"pads", node.attrs.integers("pads")}};
  if (average)
    attributes.emplace_back("count_include_pad", node.attrs.integer("count_include_pad"));
  b.set_channels_first(node.outputs[0], b.add(average ? "AveragePool" : "MaxPool",
                                              {b.channels_first(node.inputs[0])}, attributes));
}

constexpr std::int64_t kNo = 0;

/// 1 where the mask [B, T] counts, as [B, T, 1] of numbers.
std::string counted_places(Builder& b, ValueId mask) {
  const std::string ones = b.to_float(b.differs({b.name(mask), b.scalar(0)}));
  return b.add("Unsqueeze", {ones, b.integers({2})});
}

void global_pool(Builder& b, const Node& node) {
  const bool average = node.op->name == "global_avg_pool";
  const ValueId x = node.inputs[0];
  if (node.inputs.size() == 1) {
    const bool first = b.only_channels_first(x);
    Sizes axes;
    for (int axis = 1; axis < b.shape(x).rank() - 1; ++axis) axes.push_back(axis + (first ? 1 : 0));
    b.set(node.outputs[0],
          b.add(average ? "ReduceMean" : "ReduceMax", {first ? b.channels_first(x) : b.name(x)},
                {{"axes", axes}, {"keepdims", kNo}}));
    return;
  }
  const std::string places = counted_places(b, node.inputs[1]);
  const std::string count =
      b.add("ReduceSum", {places, b.integers({1})}, {{"keepdims", kNo}});  // [B, 1]
  if (average) {
    const std::string sum = b.add("ReduceSum", {b.add("Mul", {b.name(x), places}), b.integers({1})},
                                  {{"keepdims", kNo}});
    b.set(node.outputs[0], b.add("Div", {sum, b.add("Max", {count, b.scalar(1)})}));
    return;
  }
  const std::string seen = b.add("Greater", {places, b.scalar(0)});
  const std::string numbers = b.add("Where", {seen, b.name(x), b.scalar(-3.0e38)});
  const std::string largest =
      b.add("ReduceMax", {numbers}, {{"axes", Sizes{1}}, {"keepdims", kNo}});
  b.set(node.outputs[0],
        b.add("Where", {b.add("Greater", {count, b.scalar(0)}), largest, b.scalar(0)}));
}

void pad(Builder& b, const Node& node) {
  const Sizes p = node.attrs.integers("pads");
  b.set_channels_first(node.outputs[0],
                       b.add("Pad", {b.channels_first(node.inputs[0]),
                                     b.integers({0, 0, p[0], p[1], 0, 0, p[2], p[3]})}));
}

void crop(Builder& b, const Node& node) {
  const Sizes p = node.attrs.integers("pads");
  const Shape& x = b.shape(node.inputs[0]);
  b.set_channels_first(
      node.outputs[0],
      b.add("Slice", {b.channels_first(node.inputs[0]), b.integers({p[0], p[1]}),
                      b.integers({x[1] - p[2], x[2] - p[3]}), b.integers({2, 3})}));
}

void upsample(Builder& b, const Node& node) {
  const bool nearest = node.attrs.word("interpolation", "nearest") == "nearest";
  const Sizes size = node.attrs.integers("size");
  Tensor scales(Shape{4}, DType::f32);
  const auto numbers = scales.as<float>();
  numbers[0] = numbers[1] = 1;
  numbers[2] = static_cast<float>(size[0]);
  numbers[3] = static_cast<float>(size[1]);
  Attributes attributes{
      {"mode", std::string(nearest ? "nearest" : "linear")},
      {"coordinate_transformation_mode", std::string(nearest ? "asymmetric" : "half_pixel")}};
  if (nearest) attributes.emplace_back("nearest_mode", std::string("floor"));
  b.set_channels_first(
      node.outputs[0],
      b.add("Resize", {b.channels_first(node.inputs[0]), "", b.constant("scales", scales)},
            attributes));
}

}  // namespace

std::span<const Rule> image_rules() {
  static constexpr std::array<Rule, 9> kRules = {{{"avg_pool2d", pool},
                                                  {"conv2d", conv2d},
                                                  {"conv2d_input_grad", conv2d_input_grad},
                                                  {"crop2d", crop},
                                                  {"global_avg_pool", global_pool},
                                                  {"global_max_pool", global_pool},
                                                  {"max_pool2d", pool},
                                                  {"pad2d", pad},
                                                  {"upsample2d", upsample}}};
  return kRules;
}

}  // namespace dlt::onnx

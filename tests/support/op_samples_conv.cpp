// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/op_sample_families.h"
#include "tensor/conv_geometry.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;

struct ConvCase {
  Shape x, weight;
  Attrs attrs;
};

/// The convolution and both of its derivatives.
void add_conv(std::vector<OpSample>& samples, const ConvCase& c) {
  const tensor::ConvGeometry g = tensor::conv_geometry("sample", c.x, c.weight, c.attrs);
  samples.push_back({"conv2d", {{c.x}, {c.weight}}, c.attrs});
  Attrs input = c.attrs, weight = c.attrs;
  input.set("in_h", g.in_h);
  input.set("in_w", g.in_w);
  samples.push_back({"conv2d_input_grad", {{g.output()}, {c.weight}}, std::move(input)});
  weight.set("kernel_h", g.kernel_h);
  weight.set("kernel_w", g.kernel_w);
  samples.push_back({"conv2d_weight_grad", {{c.x}, {g.output()}}, std::move(weight)});
}

Attrs pads(std::int64_t top, std::int64_t left, std::int64_t bottom, std::int64_t right) {
  return {{"pad_top", top}, {"pad_left", left}, {"pad_bottom", bottom}, {"pad_right", right}};
}

Attrs with(Attrs attrs, const std::string& name, std::int64_t height, std::int64_t width) {
  attrs.set(name + "_h", height);
  attrs.set(name + "_w", width);
  return attrs;
}

Attrs grouped(Attrs attrs, std::int64_t groups) {
  attrs.set("groups", groups);
  return attrs;
}

/// Small ones for each option alone and together.
void add_options(std::vector<OpSample>& samples) {
  add_conv(samples, {{2, 5, 6, 3}, {3, 3, 3, 4}, {}});
  add_conv(samples, {{1, 1, 1, 1}, {1, 1, 1, 1}, {}});
  add_conv(samples, {{2, 4, 5, 2}, {1, 1, 2, 3}, {}});
  add_conv(samples, {{2, 5, 5, 2}, {3, 3, 2, 3}, pads(1, 1, 1, 1)});
  add_conv(samples, {{1, 5, 4, 2}, {2, 3, 2, 2}, pads(1, 0, 2, 3)});
  add_conv(samples, {{2, 7, 6, 2}, {3, 3, 2, 3}, with(pads(1, 1, 1, 1), "stride", 2, 2)});
  add_conv(samples, {{1, 7, 9, 2}, {3, 2, 2, 2}, with({}, "stride", 2, 3)});
  add_conv(samples, {{2, 5, 5, 3}, {1, 1, 3, 2}, with({}, "stride", 2, 2)});
  add_conv(samples, {{1, 7, 8, 2}, {3, 3, 2, 2}, with(pads(2, 2, 2, 2), "dilation", 2, 2)});
  add_conv(samples, {{1, 9, 8, 2}, {3, 2, 2, 2}, with(with({}, "dilation", 2, 3), "stride", 2, 1)});
  add_conv(samples, {{2, 4, 5, 4}, {3, 3, 2, 6}, grouped(pads(1, 1, 1, 1), 2)});
  add_conv(samples, {{1, 6, 7, 6}, {3, 3, 2, 3}, grouped(with({}, "stride", 2, 2), 3)});
  add_conv(samples, {{2, 5, 6, 5}, {3, 3, 1, 5}, grouped(pads(1, 1, 1, 1), 5)});
  add_conv(samples,
           {{1, 6, 5, 3}, {3, 3, 1, 6}, grouped(with(pads(1, 0, 1, 0), "stride", 2, 1), 3)});
  add_conv(samples, {{2, 1, 9, 3}, {1, 4, 3, 2}, pads(0, 2, 0, 1)});
  add_conv(samples, {{1, 2, 2, 2}, {3, 3, 2, 2}, pads(2, 2, 2, 2)});  // mostly padding
  add_conv(samples, {{1, 3, 3, 1}, {1, 1, 1, 2}, pads(1, 2, 0, 1)});  // outputs of padding alone
  add_conv(samples, {{1, 6, 6, 1}, {2, 2, 1, 1}, with({}, "stride", 4, 4)});  // pixels never read
}

/// Wide enough for whole vectors and more than one panel, row block and piece of depth.
void add_wide(std::vector<OpSample>& samples) {
  add_conv(samples, {{1, 4, 4, 19}, {2, 2, 19, 35}, pads(1, 0, 0, 1)});
  add_conv(samples, {{1, 5, 3, 16}, {3, 3, 16, 16}, with(pads(1, 1, 1, 1), "stride", 2, 2)});
  add_conv(samples, {{2, 3, 3, 33}, {1, 1, 33, 49}, {}});
  add_conv(samples, {{1, 12, 13, 6}, {5, 5, 6, 16}, {}});
  add_conv(samples, {{1, 13, 12, 1}, {5, 5, 1, 6}, pads(2, 2, 2, 2)});
  add_conv(samples, {{1, 5, 5, 36}, {3, 3, 1, 36}, grouped(pads(1, 1, 1, 1), 36)});
  add_conv(samples, {{1, 4, 5, 32}, {2, 2, 16, 34}, grouped(pads(0, 1, 1, 0), 2)});
}

/// Rounded to bf16, but for the last, which has few channels.
void add_rounded(std::vector<OpSample>& samples) {
  for (const char* precision : {"bf16", "bf16_emulated"}) {
    const auto rounded = [&](Attrs attrs) {
      attrs.set("precision", std::string(precision));
      return attrs;
    };
    add_conv(samples, {{1, 4, 4, 19}, {2, 2, 19, 35}, rounded(pads(1, 0, 0, 1))});
    add_conv(samples,
             {{1, 5, 3, 16}, {3, 3, 16, 16}, rounded(with(pads(1, 1, 1, 1), "stride", 2, 2))});
    add_conv(samples, {{2, 3, 3, 33}, {1, 1, 33, 49}, rounded({})});
    add_conv(samples, {{1, 4, 5, 32}, {2, 2, 16, 34}, rounded(grouped(pads(0, 1, 1, 0), 2))});
    add_conv(samples, {{2, 5, 6, 5}, {3, 3, 1, 5}, rounded(grouped(pads(1, 1, 1, 1), 5))});
  }
}

void add_fused_conv(std::vector<OpSample>& samples) {
  const SampleInput x{{2, 4, 5, 2}}, weight{{3, 3, 2, 3}}, bias{{3}};
  Attrs attrs = pads(1, 1, 1, 1);
  samples.push_back({"conv2d", {x, weight, bias}, attrs});
  for (const char* activation : {"leaky_relu", "relu", "sigmoid", "softplus", "tanh"}) {
    attrs.set("activation", std::string(activation));
    samples.push_back({"conv2d", {x, weight, bias}, attrs});
    samples.push_back({"conv2d", {x, weight}, attrs});
  }
  attrs.set("activation", std::string("leaky_relu"));
  attrs.set("alpha", 0.3);
  samples.push_back({"conv2d", {x, weight, bias}, attrs});
  const SampleInput many{{2, 30, 20, 6}, Fill::positive};  // as many rows as images have places
  samples.push_back({"activation_bias_grad", {many, many}, {{"activation", std::string("relu")}}});
  samples.push_back({"bias_grad", {many}, {}});
  samples.push_back({"activation_bias_grad",
                     {{{2, 3, 4, 5}}, {{2, 3, 4, 5}}},
                     {{"activation", std::string("tanh")}}});
}

}  // namespace

void add_conv_samples(std::vector<OpSample>& samples) {
  add_options(samples);
  add_wide(samples);
  add_fused_conv(samples);
  add_rounded(samples);
}

}  // namespace dlt::support

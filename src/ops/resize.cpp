// SPDX-License-Identifier: Apache-2.0
// upsample2d and its derivative, pad2d, crop2d
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/image_rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

bool is_bilinear(std::string_view op, const Attrs& attrs) {
  const std::string word = attrs.word("interpolation", "nearest");
  if (word == "nearest" || word == "bilinear") return word == "bilinear";
  rule_broken(op, cat("interpolation is ", printable(word), "; want nearest or bilinear"));
}

TypeList infer_upsample(Types inputs, const Attrs& attrs) {
  expect_inputs("upsample2d", inputs, 1);
  expect_image("upsample2d", "x", inputs[0]);
  (void)is_bilinear("upsample2d", attrs);
  const auto size = expect_integers("upsample2d", attrs, "size", 2, 1);
  const Shape& x = inputs[0].shape;
  return {{{x[0], x[1] * size[0], x[2] * size[1], x[3]}, inputs[0].dtype}};
}

/// Where output o of one axis comes from: first + share (second - first). Half-pixel centres, the
/// edge repeated.
struct Source {
  std::int64_t first, second;
  double share;
  Source(std::int64_t o, std::int64_t factor, std::int64_t length, bool bilinear)
      : first(o / factor), second(first), share(0) {
    if (!bilinear) return;
    const double at =
        std::max(0.0, (static_cast<double>(o) + 0.5) / static_cast<double>(factor) - 0.5);
    first = static_cast<std::int64_t>(at);
    second = std::min(first + 1, length - 1);
    share = at - static_cast<double>(first);
  }
};

/// f(output element, input element, factor) for each pair that goes together.
template <typename F>
void each_pair(const Shape& x, const Shape& y, const Attrs& attrs, F f) {
  const std::vector<std::int64_t> size = attrs.integers("size");
  const bool bilinear = is_bilinear("upsample2d", attrs);
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    const std::int64_t c = i % y[3], w = i / y[3] % y[2], h = i / y[3] / y[2] % y[1];
    const std::int64_t b = i / y[3] / y[2] / y[1];
    const Source row(h, size[0], x[1], bilinear), column(w, size[1], x[2], bilinear);
    const auto pair = [&](std::int64_t r, std::int64_t s, double factor) {
      if (factor != 0) f(i, ((b * x[1] + r) * x[2] + s) * x[3] + c, factor);
    };
    pair(row.first, column.first, (1 - row.share) * (1 - column.share));
    pair(row.first, column.second, (1 - row.share) * column.share);
    pair(row.second, column.first, row.share * (1 - column.share));
    pair(row.second, column.second, row.share * column.share);
  }
}

template <typename T>
void upsample_host(const KernelArgs& args, const Attrs& attrs) {
  const T* x = args.inputs[0].as<const T>();
  std::vector<double> sums(static_cast<std::size_t>(args.outputs[0].numel()), 0.0);
  each_pair(args.inputs[0].type.shape, args.outputs[0].type.shape, attrs,
            [&](std::int64_t i, std::int64_t j, double factor) {
              sums[static_cast<std::size_t>(i)] += factor * static_cast<double>(x[j]);
            });
  T* y = args.outputs[0].as<T>();
  for (std::size_t i = 0; i < sums.size(); ++i) y[i] = static_cast<T>(sums[i]);
}

std::vector<ValueId> upsample_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {graph.add_one("upsample2d_grad", {grads[0]}, Attrs(node.attrs))};
}

TypeList infer_upsample_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "upsample2d_grad";
  expect_inputs(kOp, inputs, 1);
  expect_image(kOp, "dy", inputs[0]);
  (void)is_bilinear(kOp, attrs);
  const auto size = expect_integers(kOp, attrs, "size", 2, 1);
  const Shape& dy = inputs[0].shape;
  if (dy[1] % size[0] != 0 || dy[2] % size[1] != 0) {
    rule_broken(kOp, cat("dy is ", inputs[0].text(), ", size is ", size[0], " x ", size[1],
                         "; want multiples of it"));
  }
  return {{{dy[0], dy[1] / size[0], dy[2] / size[1], dy[3]}, inputs[0].dtype}};
}

template <typename T>
void upsample_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const T* dy = args.inputs[0].as<const T>();
  std::vector<double> sums(static_cast<std::size_t>(args.outputs[0].numel()), 0.0);
  each_pair(args.outputs[0].type.shape, args.inputs[0].type.shape, attrs,
            [&](std::int64_t i, std::int64_t j, double factor) {
              sums[static_cast<std::size_t>(j)] += factor * static_cast<double>(dy[i]);
            });
  T* dx = args.outputs[0].as<T>();
  for (std::size_t i = 0; i < sums.size(); ++i) dx[i] = static_cast<T>(sums[i]);
}

TypeList infer_pad(Types inputs, const Attrs& attrs) {
  expect_inputs("pad2d", inputs, 1);
  expect_image("pad2d", "x", inputs[0]);
  const auto pads = expect_integers("pad2d", attrs, "pads", 4, 0);
  const Shape& x = inputs[0].shape;
  return {{{x[0], x[1] + pads[0] + pads[1], x[2] + pads[2] + pads[3], x[3]}, inputs[0].dtype}};
}

TypeList infer_crop(Types inputs, const Attrs& attrs) {
  expect_inputs("crop2d", inputs, 1);
  expect_image("crop2d", "x", inputs[0]);
  const auto pads = expect_integers("crop2d", attrs, "pads", 4, 0);
  const Shape& x = inputs[0].shape;
  const std::int64_t height = x[1] - pads[0] - pads[1], width = x[2] - pads[2] - pads[3];
  if (height < 1 || width < 1) {
    rule_broken("crop2d",
                cat("x is ", inputs[0].text(), ", taken away are ", pads[0], " and ", pads[1],
                    " rows, ", pads[2], " and ", pads[3], " columns; want something left"));
  }
  return {{{x[0], height, width, x[3]}, inputs[0].dtype}};
}

/// Copies the smaller image into its place in the larger one (pad) or out of it (crop).
template <typename T, bool kPad>
void frame_host(const KernelArgs& args, const Attrs& attrs) {
  const std::vector<std::int64_t> pads = attrs.integers("pads");
  const Shape& small = kPad ? args.inputs[0].type.shape : args.outputs[0].type.shape;
  const Shape& large = kPad ? args.outputs[0].type.shape : args.inputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  T* y = args.outputs[0].as<T>();
  if (kPad) std::fill_n(y, large.numel(), T{0});
  const std::int64_t row = small[2] * small[3];
  for (std::int64_t i = 0; i < small[0] * small[1]; ++i) {
    const std::int64_t b = i / small[1], h = i % small[1] + pads[0];
    const std::int64_t outer = ((b * large[1] + h) * large[2] + pads[2]) * large[3];
    std::copy_n(x + (kPad ? i * row : outer), row, y + (kPad ? outer : i * row));
  }
}

std::vector<ValueId> pad_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {graph.add_one("crop2d", {grads[0]}, Attrs(node.attrs))};
}
std::vector<ValueId> crop_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {graph.add_one("pad2d", {grads[0]}, Attrs(node.attrs))};
}

}  // namespace

autodiff::OpDef make_upsample2d() {
  return {.name = "upsample2d",
          .infer = infer_upsample,
          .host = host_kernel<upsample_host<float>, upsample_host<double>>,
          .vjp = upsample_vjp};
}

autodiff::OpDef make_upsample2d_grad() {
  return {.name = "upsample2d_grad",
          .infer = infer_upsample_grad,
          .host = host_kernel<upsample_grad_host<float>, upsample_grad_host<double>>};
}

autodiff::OpDef make_pad2d() {
  return {.name = "pad2d",
          .infer = infer_pad,
          .host = host_kernel<frame_host<float, true>, frame_host<double, true>>,
          .vjp = pad_vjp};
}

autodiff::OpDef make_crop2d() {
  return {.name = "crop2d",
          .infer = infer_crop,
          .host = host_kernel<frame_host<float, false>, frame_host<double, false>>,
          .vjp = crop_vjp};
}

}  // namespace dlt::ops

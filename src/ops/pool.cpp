// SPDX-License-Identifier: Apache-2.0
// max_pool2d, avg_pool2d and their derivatives.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
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

/// The windows of a pool over images.
struct Windows {
  std::vector<std::int64_t> size, strides, pads;  // [h, w], [h, w], [top, bottom, left, right]
  Windows(std::string_view op, const Attrs& attrs)
      : size(expect_integers(op, attrs, "window", 2, 1)),
        strides(expect_integers(op, attrs, "strides", 2, 1)),
        pads(expect_integers(op, attrs, "pads", 4, 0)) {}
  [[nodiscard]] std::int64_t cells() const { return size[0] * size[1]; }
  /// Output size along axis 0 (height) or 1 (width).
  [[nodiscard]] std::int64_t out(const Shape& image, std::size_t axis) const {
    const std::int64_t padded =
        image[1 + static_cast<int>(axis)] + pads[2 * axis] + pads[2 * axis + 1];
    return padded < size[axis] ? 0 : (padded - size[axis]) / strides[axis] + 1;
  }
  [[nodiscard]] Shape out(const Shape& image) const {
    return {image[0], out(image, 0), out(image, 1), image[3]};
  }
};

Windows checked(std::string_view op, const tensor::TensorType& x, const Attrs& attrs) {
  expect_image(op, "x", x);
  Windows windows(op, attrs);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (std::max(windows.pads[2 * axis], windows.pads[2 * axis + 1]) >= windows.size[axis]) {
      rule_broken(op, "a window lies in the padding alone; want pads smaller than the window");
    }
    if (windows.out(x.shape, axis) < 1) {
      rule_broken(op, cat("x is ", x.text(), ", window is ", windows.size[0], " x ",
                          windows.size[1], "; want a window that fits in"));
    }
  }
  return windows;
}

/// f(window cell, input element) over the cells of an output place that lie in the image; channel
/// 0.
template <typename F>
void each_cell(const Windows& windows, const Shape& image, const Shape& out, std::int64_t place,
               F f) {
  const std::int64_t w = place % out[2], h = place / out[2] % out[1], b = place / out[2] / out[1];
  for (std::int64_t k = 0; k < windows.cells(); ++k) {
    const std::int64_t y = h * windows.strides[0] - windows.pads[0] + k / windows.size[1];
    const std::int64_t x = w * windows.strides[1] - windows.pads[2] + k % windows.size[1];
    if (y < 0 || y >= image[1] || x < 0 || x >= image[2]) continue;
    f(k, ((b * image[1] + y) * image[2] + x) * image[3]);
  }
}

TypeList infer_max_pool(Types inputs, const Attrs& attrs) {
  expect_inputs("max_pool2d", inputs, 1);
  const Windows windows = checked("max_pool2d", inputs[0], attrs);
  if (windows.cells() > 256) {
    rule_broken("max_pool2d", cat("window is ", windows.size[0], " x ", windows.size[1],
                                  "; want at most 256 cells"));
  }
  const Shape out = windows.out(inputs[0].shape);
  return {{out, inputs[0].dtype}, {out, DType::u8}};
}

/// The largest cell, the first of equal ones; NaN is the largest of all.
template <typename T>
void max_pool_host(const KernelArgs& args, const Attrs& attrs) {
  const Windows windows("max_pool2d", attrs);
  const Shape &image = args.inputs[0].type.shape, &out = args.outputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const std::int64_t c = i % out[3];
    T best = -std::numeric_limits<T>::infinity();
    std::int64_t cell = -1;
    each_cell(windows, image, out, i / out[3], [&](std::int64_t k, std::int64_t element) {
      const T value = x[element + c];
      if (cell >= 0 && !(value > best) && !std::isnan(value)) return;
      if (std::isnan(best)) return;
      best = value;
      cell = k;
    });
    args.outputs[0].as<T>()[i] = best;
    args.outputs[1].as<std::uint8_t>()[i] = static_cast<std::uint8_t>(cell);
  }
}

std::vector<ValueId> max_pool_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  Attrs attrs = node.attrs;
  set_shape(attrs, graph.shape(node.inputs[0]));
  return {graph.add_one("max_pool2d_grad", {grads[0], node.outputs[1]}, std::move(attrs))};
}

tensor::TensorType checked_grad(std::string_view op, Types inputs, const Attrs& attrs) {
  const tensor::TensorType x{shape_of(attrs), inputs[0].dtype};
  const tensor::TensorType dy{checked(op, x, attrs).out(x.shape), x.dtype};
  if (inputs[0] != dy) {
    rule_broken(op, cat("dy is ", inputs[0].text(), ", x is ", x.text(), "; want dy ", dy.text()));
  }
  return x;
}

TypeList infer_max_pool_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "max_pool2d_grad";
  expect_inputs(kOp, inputs, 2);
  const tensor::TensorType x = checked_grad(kOp, inputs, attrs);
  if (inputs[1].shape != inputs[0].shape || inputs[1].dtype != DType::u8) {
    rule_broken(kOp, cat("dy is ", inputs[0].text(), ", index is ", inputs[1].text(),
                         "; want a u8 index of the same shape"));
  }
  return {x};
}

template <typename T>
void max_pool_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Windows windows("max_pool2d_grad", attrs);
  const Shape &image = args.outputs[0].type.shape, &out = args.inputs[0].type.shape;
  const T* dy = args.inputs[0].as<const T>();
  const std::uint8_t* index = args.inputs[1].as<const std::uint8_t>();
  std::vector<double> sums(static_cast<std::size_t>(image.numel()), 0.0);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    each_cell(windows, image, out, i / out[3], [&](std::int64_t k, std::int64_t element) {
      if (k != index[i]) return;
      sums[static_cast<std::size_t>(element + i % out[3])] += static_cast<double>(dy[i]);
    });
  }
  T* dx = args.outputs[0].as<T>();
  for (std::size_t i = 0; i < sums.size(); ++i) dx[i] = static_cast<T>(sums[i]);
}

TypeList infer_avg_pool(Types inputs, const Attrs& attrs) {
  expect_inputs("avg_pool2d", inputs, 1);
  return {{checked("avg_pool2d", inputs[0], attrs).out(inputs[0].shape), inputs[0].dtype}};
}

/// What the sum of a window is divided by: its cells in the image, or all of them.
double window_divisor(const Windows& windows, const Attrs& attrs, const Shape& image,
                      const Shape& out, std::int64_t place) {
  if (attrs.integer("count_include_pad") != 0) return static_cast<double>(windows.cells());
  double cells = 0;
  each_cell(windows, image, out, place, [&](std::int64_t, std::int64_t) { cells += 1; });
  return cells;
}

template <typename T>
void avg_pool_host(const KernelArgs& args, const Attrs& attrs) {
  const Windows windows("avg_pool2d", attrs);
  const Shape &image = args.inputs[0].type.shape, &out = args.outputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    double sum = 0;
    each_cell(windows, image, out, i / out[3], [&](std::int64_t, std::int64_t element) {
      sum += static_cast<double>(x[element + i % out[3]]);
    });
    args.outputs[0].as<T>()[i] =
        static_cast<T>(sum / window_divisor(windows, attrs, image, out, i / out[3]));
  }
}

std::vector<ValueId> avg_pool_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  Attrs attrs = node.attrs;
  set_shape(attrs, graph.shape(node.inputs[0]));
  return {graph.add_one("avg_pool2d_grad", {grads[0]}, std::move(attrs))};
}

TypeList infer_avg_pool_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("avg_pool2d_grad", inputs, 1);
  return {checked_grad("avg_pool2d_grad", inputs, attrs)};
}

template <typename T>
void avg_pool_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Windows windows("avg_pool2d_grad", attrs);
  const Shape &image = args.outputs[0].type.shape, &out = args.inputs[0].type.shape;
  const T* dy = args.inputs[0].as<const T>();
  std::vector<double> sums(static_cast<std::size_t>(image.numel()), 0.0);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const double share =
        static_cast<double>(dy[i]) / window_divisor(windows, attrs, image, out, i / out[3]);
    each_cell(windows, image, out, i / out[3], [&](std::int64_t, std::int64_t element) {
      sums[static_cast<std::size_t>(element + i % out[3])] += share;
    });
  }
  T* dx = args.outputs[0].as<T>();
  for (std::size_t i = 0; i < sums.size(); ++i) dx[i] = static_cast<T>(sums[i]);
}

}  // namespace

autodiff::OpDef make_max_pool2d() {
  return {.name = "max_pool2d",
          .infer = infer_max_pool,
          .host = host_kernel<max_pool_host<float>, max_pool_host<double>>,
          .vjp = max_pool_vjp};
}

autodiff::OpDef make_max_pool2d_grad() {
  return {.name = "max_pool2d_grad",
          .infer = infer_max_pool_grad,
          .host = host_kernel<max_pool_grad_host<float>, max_pool_grad_host<double>>};
}

autodiff::OpDef make_avg_pool2d() {
  return {.name = "avg_pool2d",
          .infer = infer_avg_pool,
          .host = host_kernel<avg_pool_host<float>, avg_pool_host<double>>,
          .vjp = avg_pool_vjp};
}

autodiff::OpDef make_avg_pool2d_grad() {
  return {.name = "avg_pool2d_grad",
          .infer = infer_avg_pool_grad,
          .host = host_kernel<avg_pool_grad_host<float>, avg_pool_grad_host<double>>};
}

}  // namespace dlt::ops

// SPDX-License-Identifier: Apache-2.0
// max_pool2d, avg_pool2d and their derivatives: each thread gathers what its element needs, in the
// order of the windows.
#include <cstdint>
#include <memory>

#include "backend/cuda/divider.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "tensor/image_geometry.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::PoolGeometry;
using tensor::Shape;

/// A range of places along one axis.
struct Range {
  int first, end;
};

/// An element of an image.
struct PoolPlace {
  std::int64_t image;
  int h, w;
  std::int64_t channel;
};

/// A pool's sizes along one axis; one image side fits an int.
struct PoolAxis {
  int in, out, window, stride, pad;

  /// The cells of the image that output `o` sees.
  [[nodiscard]] __device__ Range cells(int o) const {
    const int start = o * stride - pad;
    return {max(start, 0), min(start + window, in)};
  }
  /// The outputs that see cell `i`.
  [[nodiscard]] __device__ Range outputs(int i) const {
    const int at = i + pad;
    return {at < window ? 0 : (at - window) / stride + 1, min(at / stride + 1, out)};
  }
  /// Where in the window of output `o` the cell `i` is.
  [[nodiscard]] __device__ int within(int o, int i) const { return i + pad - o * stride; }
};

struct Pool {
  PoolAxis rows, columns;
  std::int64_t channels;
  bool count_include_pad;
  Divider by_channels, by_width, by_height;  // of the image that threads go through

  Pool(const PoolGeometry& g, bool over_input)
      : rows(axis(g.in_height, g.out_height, g.window_height, g.stride_height, g.top)),
        columns(axis(g.in_width, g.out_width, g.window_width, g.stride_width, g.left)),
        channels(g.channels),
        count_include_pad(g.count_include_pad),
        by_channels(g.channels),
        by_width(over_input ? g.in_width : g.out_width),
        by_height(over_input ? g.in_height : g.out_height) {}
  [[nodiscard]] __device__ PoolPlace place(std::int64_t i) const {
    std::int64_t channel = i, w = by_channels.take(channel);
    std::int64_t h = by_width.take(w);
    const std::int64_t image = by_height.take(h);
    return {image, static_cast<int>(h), static_cast<int>(w), channel};
  }
  [[nodiscard]] __device__ std::int64_t input(const PoolPlace& p, int h, int w) const {
    return ((p.image * rows.in + h) * columns.in + w) * channels + p.channel;
  }
  [[nodiscard]] __device__ std::int64_t output(const PoolPlace& p, int h, int w) const {
    return ((p.image * rows.out + h) * columns.out + w) * channels + p.channel;
  }
  /// What the sum of output (h, w) is divided by.
  [[nodiscard]] __device__ float divisor(int h, int w) const {
    if (count_include_pad) return static_cast<float>(rows.window * columns.window);
    const Range r = rows.cells(h), c = columns.cells(w);
    return static_cast<float>((r.end - r.first) * (c.end - c.first));
  }

 private:
  static PoolAxis axis(std::int64_t in, std::int64_t out, std::int64_t window, std::int64_t stride,
                       std::int64_t pad) {
    return {static_cast<int>(in), static_cast<int>(out), static_cast<int>(window),
            static_cast<int>(stride), static_cast<int>(pad)};
  }
};

/// The largest cell, the first of equal ones; NaN is the largest of all.
struct MaxPool {
  Pool pool;
  const float* x;
  float* y;
  std::uint8_t* index;

  __device__ void operator()(std::int64_t i) const {
    const PoolPlace p = pool.place(i);
    const Range rows = pool.rows.cells(p.h), columns = pool.columns.cells(p.w);
    float best = 0;
    int cell = -1;
    for (int h = rows.first; h < rows.end; ++h) {
      for (int w = columns.first; w < columns.end; ++w) {
        const float value = x[pool.input(p, h, w)];
        const bool larger = value > best || (is_nan(value) && !is_nan(best));
        if (cell >= 0 && !larger) continue;
        best = value;
        cell = pool.rows.within(p.h, h) * pool.columns.window + pool.columns.within(p.w, w);
      }
    }
    y[i] = best;
    index[i] = static_cast<std::uint8_t>(cell);
  }
};

struct MaxPoolGrad {
  Pool pool;
  const float* dy;
  const std::uint8_t* index;
  float* dx;

  __device__ void operator()(std::int64_t i) const {
    const PoolPlace p = pool.place(i);
    const Range rows = pool.rows.outputs(p.h), columns = pool.columns.outputs(p.w);
    float sum = 0;
    for (int h = rows.first; h < rows.end; ++h) {
      for (int w = columns.first; w < columns.end; ++w) {
        const int cell =
            pool.rows.within(h, p.h) * pool.columns.window + pool.columns.within(w, p.w);
        const std::int64_t o = pool.output(p, h, w);
        if (index[o] == cell) sum += dy[o];
      }
    }
    dx[i] = sum;
  }
};

struct AvgPool {
  Pool pool;
  const float* x;
  float* y;

  __device__ void operator()(std::int64_t i) const {
    const PoolPlace p = pool.place(i);
    const Range rows = pool.rows.cells(p.h), columns = pool.columns.cells(p.w);
    double sum = 0;
    for (int h = rows.first; h < rows.end; ++h) {
      float row = 0;
      for (int w = columns.first; w < columns.end; ++w) row += x[pool.input(p, h, w)];
      sum += static_cast<double>(row);
    }
    y[i] = static_cast<float>(sum) / pool.divisor(p.h, p.w);
  }
};

struct AvgPoolGrad {
  Pool pool;
  const float* dy;
  float* dx;

  __device__ void operator()(std::int64_t i) const {
    const PoolPlace p = pool.place(i);
    const Range rows = pool.rows.outputs(p.h), columns = pool.columns.outputs(p.w);
    double sum = 0;
    for (int h = rows.first; h < rows.end; ++h) {
      float row = 0;
      for (int w = columns.first; w < columns.end; ++w) {
        row += dy[pool.output(p, h, w)] / pool.divisor(h, w);
      }
      sum += static_cast<double>(row);
    }
    dx[i] = static_cast<float>(sum);
  }
};

/// A kernel over all elements of output 0; make(pool, args) gives what to do with each.
template <typename Op, Op (*make)(const Pool&, const KernelArgs&)>
class PoolKernel final : public Kernel {
 public:
  explicit PoolKernel(const Pool& pool) : pool_(pool) {}
  void run(const KernelArgs& args) const override {
    launch_elements(args.outputs[0].numel(), make(pool_, args), stream_of(args));
  }

 private:
  Pool pool_;
};

MaxPool max_pool(const Pool& pool, const KernelArgs& args) {
  return {pool, args.inputs[0].as<const float>(), args.outputs[0].as<float>(),
          args.outputs[1].as<std::uint8_t>()};
}
MaxPoolGrad max_pool_grad(const Pool& pool, const KernelArgs& args) {
  return {pool, args.inputs[0].as<const float>(), args.inputs[1].as<const std::uint8_t>(),
          args.outputs[0].as<float>()};
}
AvgPool avg_pool(const Pool& pool, const KernelArgs& args) {
  return {pool, args.inputs[0].as<const float>(), args.outputs[0].as<float>()};
}
AvgPoolGrad avg_pool_grad(const Pool& pool, const KernelArgs& args) {
  return {pool, args.inputs[0].as<const float>(), args.outputs[0].as<float>()};
}

template <typename Op, Op (*make)(const Pool&, const KernelArgs&)>
std::unique_ptr<Kernel> forward(const KernelSpec& spec) {
  if (!floats_are_f32(spec)) return nullptr;
  return std::make_unique<PoolKernel<Op, make>>(
      Pool(tensor::pool_geometry(spec.inputs[0].shape, spec.outputs[0].shape, spec.attrs), false));
}
template <typename Op, Op (*make)(const Pool&, const KernelArgs&)>
std::unique_ptr<Kernel> backward(const KernelSpec& spec) {
  if (!floats_are_f32(spec)) return nullptr;
  return std::make_unique<PoolKernel<Op, make>>(
      Pool(tensor::pool_geometry(spec.outputs[0].shape, spec.inputs[0].shape, spec.attrs), true));
}

}  // namespace

std::unique_ptr<Kernel> make_max_pool2d(const KernelSpec& spec, const DeviceLibraries&) {
  return forward<MaxPool, max_pool>(spec);
}
std::unique_ptr<Kernel> make_max_pool2d_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return backward<MaxPoolGrad, max_pool_grad>(spec);
}
std::unique_ptr<Kernel> make_avg_pool2d(const KernelSpec& spec, const DeviceLibraries&) {
  return forward<AvgPool, avg_pool>(spec);
}
std::unique_ptr<Kernel> make_avg_pool2d_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return backward<AvgPoolGrad, avg_pool_grad>(spec);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// upsample2d and its derivative: each thread gathers what its element needs.
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
using tensor::UpsampleGeometry;

/// Where output o of one axis comes from: first + share (second - first).
struct Source {
  int first, second;
  float share;
};

/// One axis: `length` cells become factor times as many. Half-pixel centres, the edge repeated.
struct ResizeAxis {
  int length, factor;
  bool bilinear;

  [[nodiscard]] __device__ Source source(int o) const {
    if (!bilinear) return {o / factor, o / factor, 0.0F};
    const int twice = max(2 * o + 1 - factor, 0);  // (o + 1/2) / factor - 1/2, times 2 factor
    const int first = twice / (2 * factor);
    return {first, min(first + 1, length - 1),
            static_cast<float>(twice - first * 2 * factor) / static_cast<float>(2 * factor)};
  }
  /// How much of cell i is in output o.
  [[nodiscard]] __device__ float weight(int o, int i) const {
    const Source from = source(o);
    return (from.first == i ? 1.0F - from.share : 0.0F) + (from.second == i ? from.share : 0.0F);
  }
  /// No output before or behind has anything of cell i.
  [[nodiscard]] __device__ int begin(int i) const { return max(i * factor - reach(), 0); }
  [[nodiscard]] __device__ int end(int i) const {
    return min((i + 1) * factor + reach(), length * factor);
  }

 private:
  [[nodiscard]] __device__ int reach() const { return bilinear ? (factor + 1) / 2 : 0; }
};

struct Upsample {
  ResizeAxis rows, columns;
  std::int64_t channels;
  Divider by_channels, by_width, by_height;  // of the image that threads go through
  const float* x = nullptr;
  float* y = nullptr;

  Upsample(const UpsampleGeometry& g, std::int64_t height, std::int64_t width)
      : rows{static_cast<int>(g.height), static_cast<int>(g.factor_height), g.bilinear},
        columns{static_cast<int>(g.width), static_cast<int>(g.factor_width), g.bilinear},
        channels(g.channels),
        by_channels(g.channels),
        by_width(width),
        by_height(height) {}
  [[nodiscard]] __device__ std::int64_t small(std::int64_t image, int h, int w) const {
    return ((image * rows.length + h) * columns.length + w) * channels;
  }
};

struct ResizeForward {
  Upsample u;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t c = i, w = u.by_channels.take(c);
    std::int64_t h = u.by_width.take(w);
    const std::int64_t image = u.by_height.take(h);
    const Source row = u.rows.source(static_cast<int>(h));
    const Source column = u.columns.source(static_cast<int>(w));
    const auto at = [&](int r, int s) { return u.x[u.small(image, r, s) + c]; };
    float sum = (1.0F - row.share) * (1.0F - column.share) * at(row.first, column.first);
    if (column.share > 0) sum += (1.0F - row.share) * column.share * at(row.first, column.second);
    if (row.share > 0) {
      sum += row.share * (1.0F - column.share) * at(row.second, column.first);
      if (column.share > 0) sum += row.share * column.share * at(row.second, column.second);
    }
    u.y[i] = sum;
  }
};

/// x is the gradient of the large image here, y that of the small one.
struct Backward {
  Upsample u;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t c = i, at = u.by_channels.take(c);
    std::int64_t in_image = u.by_width.take(at);
    const std::int64_t image = u.by_height.take(in_image);
    const int h = static_cast<int>(in_image), w = static_cast<int>(at);
    const std::int64_t height = static_cast<std::int64_t>(u.rows.length) * u.rows.factor;
    const std::int64_t width = static_cast<std::int64_t>(u.columns.length) * u.columns.factor;
    double sum = 0;
    for (int r = u.rows.begin(h); r < u.rows.end(h); ++r) {
      const float share = u.rows.weight(r, h);
      if (share == 0) continue;
      float row = 0;
      for (int s = u.columns.begin(w); s < u.columns.end(w); ++s) {
        const float part = u.columns.weight(s, w);
        if (part == 0) continue;
        row += part * u.x[((image * height + r) * width + s) * u.channels + c];
      }
      sum += static_cast<double>(share * row);
    }
    u.y[i] = static_cast<float>(sum);
  }
};

template <typename Op>
class UpsampleKernel final : public Kernel {
 public:
  explicit UpsampleKernel(const Upsample& plan) : plan_(plan) {}
  void run(const KernelArgs& args) const override {
    Op op{plan_};
    op.u.x = args.inputs[0].as<const float>();
    op.u.y = args.outputs[0].as<float>();
    launch_elements(args.outputs[0].numel(), op, stream_of(args));
  }

 private:
  Upsample plan_;
};

}  // namespace

std::unique_ptr<Kernel> make_upsample2d(const KernelSpec& spec, const DeviceLibraries&) {
  if (!floats_are_f32(spec)) return nullptr;
  const tensor::Shape& y = spec.outputs[0].shape;
  return std::make_unique<UpsampleKernel<ResizeForward>>(
      Upsample(tensor::upsample_geometry(spec.inputs[0].shape, spec.attrs), y[1], y[2]));
}
std::unique_ptr<Kernel> make_upsample2d_grad(const KernelSpec& spec, const DeviceLibraries&) {
  if (!floats_are_f32(spec)) return nullptr;
  const tensor::Shape& dx = spec.outputs[0].shape;
  return std::make_unique<UpsampleKernel<Backward>>(
      Upsample(tensor::upsample_geometry(dx, spec.attrs), dx[1], dx[2]));
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Convolutions straight from the definition: one thread for each number of the result.
#include <algorithm>

#include "backend/cuda/activation_math.h"
#include "backend/cuda/conv_spec.h"
#include "backend/cuda/device.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/rounding.h"

namespace dlt::cuda {
namespace {

using tensor::ConvGeometry;

constexpr int kConvThreads = 256;
/// Places of y that one partial sum of a weight's gradient goes over, and the most partial sums.
constexpr std::int64_t kPlacesEach = 128, kMaxParts = 256;

/// A place of an image: sample, row, column.
struct ConvPlace {
  std::int64_t b, h, w;
};
__device__ inline ConvPlace place_of(std::int64_t pixel, std::int64_t height, std::int64_t width) {
  const std::int64_t row = pixel / width;
  return {row / height, row % height, pixel % width};
}

struct ConvForward {
  const float *x, *weight, *bias;
  float* y;
};

__global__ void forward_kernel(ConvSpec s, ConvForward t) {
  const ConvGeometry& g = s.g;
  const std::int64_t group_in = g.in_channels / g.groups, group_out = g.out_channels / g.groups;
  const std::int64_t count = g.batch * g.out_h * g.out_w * g.out_channels;
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    const std::int64_t out = i % g.out_channels;
    const ConvPlace at = place_of(i / g.out_channels, g.out_h, g.out_w);
    float sum = 0.0f;
    for (std::int64_t r = 0; r < g.kernel_h; ++r) {
      const std::int64_t h = at.h * g.stride_h + r * g.dilation_h - g.pad_top;
      if (h < 0 || h >= g.in_h) continue;
      for (std::int64_t c = 0; c < g.kernel_w; ++c) {
        const std::int64_t w = at.w * g.stride_w + c * g.dilation_w - g.pad_left;
        if (w < 0 || w >= g.in_w) continue;
        const float* x =
            t.x + ((at.b * g.in_h + h) * g.in_w + w) * g.in_channels + out / group_out * group_in;
        const float* weight = t.weight + (r * g.kernel_w + c) * group_in * g.out_channels + out;
        float tap = 0.0f;
        for (std::int64_t k = 0; k < group_in; ++k) {
          tap = fmaf(rounded(x[k], s.precision), rounded(weight[k * g.out_channels], s.precision),
                     tap);
        }
        sum += tap;
      }
    }
    if (t.bias != nullptr) sum += t.bias[out];
    t.y[i] = activation_value(s.activation, sum, s.alpha);
  }
}

struct InputGrad {
  const float *dy, *weight;
  float* dx;
};

__global__ void input_grad_kernel(ConvSpec s, InputGrad t) {
  const ConvGeometry& g = s.g;
  const std::int64_t group_in = g.in_channels / g.groups, group_out = g.out_channels / g.groups;
  const std::int64_t count = g.batch * g.in_h * g.in_w * g.in_channels;
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    const std::int64_t in = i % g.in_channels, first_out = in / group_in * group_out;
    const ConvPlace at = place_of(i / g.in_channels, g.in_h, g.in_w);
    float sum = 0.0f;
    for (std::int64_t r = 0; r < g.kernel_h; ++r) {
      const std::int64_t h = at.h + g.pad_top - r * g.dilation_h;  // times stride
      if (h < 0 || h % g.stride_h != 0 || h / g.stride_h >= g.out_h) continue;
      for (std::int64_t c = 0; c < g.kernel_w; ++c) {
        const std::int64_t w = at.w + g.pad_left - c * g.dilation_w;
        if (w < 0 || w % g.stride_w != 0 || w / g.stride_w >= g.out_w) continue;
        const std::int64_t pixel = (at.b * g.out_h + h / g.stride_h) * g.out_w + w / g.stride_w;
        const float* dy = t.dy + pixel * g.out_channels + first_out;
        const std::int64_t tap = r * g.kernel_w + c;
        const float* weight =
            t.weight + (tap * group_in + in % group_in) * g.out_channels + first_out;
        float of_tap = 0.0f;
        for (std::int64_t k = 0; k < group_out; ++k) {
          of_tap = fmaf(rounded(dy[k], s.precision), rounded(weight[k], s.precision), of_tap);
        }
        sum += of_tap;
      }
    }
    t.dx[i] = sum;
  }
}

struct WeightGrad {
  const float *x, *dy;
  float* parts;  // [num_parts, weight], or the result if there is one part
  std::int64_t num_parts;
};

__global__ void weight_grad_kernel(ConvSpec s, WeightGrad t) {
  const ConvGeometry& g = s.g;
  const std::int64_t group_in = g.in_channels / g.groups, group_out = g.out_channels / g.groups;
  const std::int64_t count = g.kernel_h * g.kernel_w * group_in * g.out_channels;
  const std::int64_t places = g.batch * g.out_h * g.out_w;
  const std::int64_t each = (places + t.num_parts - 1) / t.num_parts;
  for (std::int64_t i = first_index(); i < count * t.num_parts; i += index_stride()) {
    const std::int64_t part = i / count, of = i % count;
    const std::int64_t out = of % g.out_channels, row = of / g.out_channels;
    const std::int64_t in = out / group_out * group_in + row % group_in, tap = row / group_in;
    const std::int64_t r = tap / g.kernel_w, c = tap % g.kernel_w;
    const std::int64_t end = (part + 1) * each < places ? (part + 1) * each : places;
    float sum = 0.0f;
    for (std::int64_t pixel = part * each; pixel < end; ++pixel) {
      const ConvPlace at = place_of(pixel, g.out_h, g.out_w);
      const std::int64_t h = at.h * g.stride_h + r * g.dilation_h - g.pad_top;
      const std::int64_t w = at.w * g.stride_w + c * g.dilation_w - g.pad_left;
      if (h < 0 || h >= g.in_h || w < 0 || w >= g.in_w) continue;
      const float x = t.x[((at.b * g.in_h + h) * g.in_w + w) * g.in_channels + in];
      sum = fmaf(rounded(x, s.precision), rounded(t.dy[pixel * g.out_channels + out], s.precision),
                 sum);
    }
    t.parts[i] = sum;
  }
}

__global__ void add_parts_kernel(const float* parts, std::int64_t num_parts, std::int64_t count,
                                 float* sums) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    float sum = 0.0f;
    for (std::int64_t part = 0; part < num_parts; ++part) sum += parts[part * count + i];
    sums[i] = sum;
  }
}

Grid conv_grid(std::int64_t elements) {
  const std::int64_t blocks =
      std::clamp<std::int64_t>((elements + kConvThreads - 1) / kConvThreads, 1, 65536);
  return {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kConvThreads)};
}

class ConvDirect final : public tensor::Kernel {
 public:
  explicit ConvDirect(const ConvSpec& spec) : spec_(spec) {
    const std::int64_t places = spec.g.batch * spec.g.out_h * spec.g.out_w;
    num_parts_ = std::clamp<std::int64_t>(places / kPlacesEach, 1, kMaxParts);
  }

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    const bool adds = spec_.direction == ConvDirection::weight_grad && num_parts_ > 1;
    return adds ? 4 * num_parts_ * spec_.g.weight().numel() : 0;
  }
  void run(const tensor::KernelArgs& args) const override {
    const auto input = [&](std::size_t i) { return args.inputs[i].as<const float>(); };
    float* out = args.outputs[0].as<float>();
    const std::int64_t count = args.outputs[0].numel();
    switch (spec_.direction) {
      case ConvDirection::forward:
        return launch(
            forward_kernel, conv_grid(count), stream_of(args), spec_,
            ConvForward{input(0), input(1), args.inputs.size() > 2 ? input(2) : nullptr, out});
      case ConvDirection::input_grad:
        return launch(input_grad_kernel, conv_grid(count), stream_of(args), spec_,
                      InputGrad{input(0), input(1), out});
      case ConvDirection::weight_grad:
        break;
    }
    float* parts = num_parts_ > 1 ? reinterpret_cast<float*>(args.scratch) : out;
    launch(weight_grad_kernel, conv_grid(count * num_parts_), stream_of(args), spec_,
           WeightGrad{input(0), input(1), parts, num_parts_});
    if (num_parts_ == 1) return;
    launch(add_parts_kernel, conv_grid(count), stream_of(args), parts, num_parts_, count, out);
  }

 private:
  ConvSpec spec_;
  std::int64_t num_parts_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_conv_direct(const ConvSpec& spec) {
  return std::make_unique<ConvDirect>(spec);
}

}  // namespace dlt::cuda

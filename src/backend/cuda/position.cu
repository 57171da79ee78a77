// SPDX-License-Identifier: Apache-2.0
// position_add, position_add_grad, sinusoid_add, rope. Angles are made in f64, in a small table.
#include <cstdint>
#include <memory>

#include "backend/cuda/divider.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::Shape;

/// y = x + table, which is as long as a sample; y may be x.
struct AddTable {
  float* y;
  const float *x, *table;
  Divider by_sample;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t at = i;
    (void)by_sample.take(at);
    y[i] = x[i] + table[at];
  }
};

void add_table(const KernelArgs& args, const float* table) {
  const Shape& shape = args.inputs[0].type.shape;
  if (shape.numel() == 0) return;
  launch_elements(shape.numel(),
                  AddTable{args.outputs[0].as<float>(), args.inputs[0].as<const float>(), table,
                           Divider(shape[1] * shape[2])},
                  stream_of(args));
}

class PositionAdd final : public Kernel {
 public:
  void run(const KernelArgs& args) const override {
    add_table(args, args.inputs[1].as<const float>());
  }
};

/// The sum over samples of n numbers each, and zeros behind.
struct SumSamples {
  float* dp;
  const float* dy;
  std::int64_t samples, n;
  __device__ void operator()(std::int64_t i) const {
    double sum = 0;
    if (i < n) {
      for (std::int64_t b = 0; b < samples; ++b) sum += static_cast<double>(dy[b * n + i]);
    }
    dp[i] = static_cast<float>(sum);
  }
};

class PositionAddGrad final : public Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const Shape& shape = args.inputs[0].type.shape;
    launch_elements(args.outputs[0].numel(),
                    SumSamples{args.outputs[0].as<float>(), args.inputs[0].as<const float>(),
                               shape[0], shape[1] * shape[2]},
                    stream_of(args));
  }
};

/// sin(t θ^(−2i/C)) at 2i and the cosine at 2i + 1
struct Sinusoids {
  float* table;
  std::int64_t channels;
  double theta;
  Divider by_channels;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t c = i;
    const std::int64_t t = by_channels.take(c);
    const double power = static_cast<double>(c / 2 * 2) / static_cast<double>(channels);
    const double angle = static_cast<double>(t) * pow(theta, -power);
    table[i] = static_cast<float>(c % 2 == 0 ? sin(angle) : cos(angle));
  }
};

class SinusoidAdd final : public Kernel {
 public:
  explicit SinusoidAdd(const KernelSpec& spec)
      : length_(spec.inputs[0].shape[1]),
        channels_(spec.inputs[0].shape[2]),
        theta_(spec.attrs.number("theta", 10000.0)) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return 4 * length_ * channels_; }
  void run(const KernelArgs& args) const override {
    if (args.inputs[0].numel() == 0) return;
    auto* table = reinterpret_cast<float*>(args.scratch);
    launch_elements(length_ * channels_, Sinusoids{table, channels_, theta_, Divider(channels_)},
                    stream_of(args));
    add_table(args, table);
  }

 private:
  std::int64_t length_, channels_;
  double theta_;
};

/// Cosine and sine of t θ^(−2d/D) for each step t and each d < D/2.
struct Turns {
  float2* turns;
  std::int64_t half;
  double theta, sign;
  Divider by_half;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t d = i;
    const std::int64_t t = by_half.take(d);
    const double angle =
        static_cast<double>(t) * pow(theta, -static_cast<double>(d) / static_cast<double>(half));
    turns[i] = make_float2(static_cast<float>(cos(angle)), static_cast<float>(sign * sin(angle)));
  }
};

/// An element for each pair of a row, then one for each number behind the heads; y may be x.
struct Rotate {
  float* y;
  const float* x;
  const float2* turns;
  std::int64_t length, width, half, pairs;
  Divider by_elements, by_length, by_half;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t at = i;
    const std::int64_t row = by_elements.take(at), start = row * width;
    if (at >= pairs) {
      y[start + pairs + at] = x[start + pairs + at];
      return;
    }
    std::int64_t t = row, d = at;
    (void)by_length.take(t);
    const std::int64_t first = start + 2 * half * by_half.take(d) + d;
    const float2 turn = turns[t * half + d];
    const float a = x[first], b = x[first + half];
    y[first] = a * turn.x - b * turn.y;
    y[first + half] = b * turn.x + a * turn.y;
  }
};

class Rope final : public Kernel {
 public:
  explicit Rope(const KernelSpec& spec)
      : half_(spec.attrs.integer("head_size") / 2),
        heads_(spec.attrs.integer("heads", 1)),
        length_(spec.inputs[0].shape[1]),
        theta_(spec.attrs.number("theta", 10000.0)),
        sign_(spec.attrs.integer("inverse") != 0 ? -1.0 : 1.0) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return 8 * length_ * half_; }
  void run(const KernelArgs& args) const override {
    const Shape& shape = args.inputs[0].type.shape;
    if (shape.numel() == 0) return;
    auto* turns = reinterpret_cast<float2*>(args.scratch);
    launch_elements(length_ * half_, Turns{turns, half_, theta_, sign_, Divider(half_)},
                    stream_of(args));
    const std::int64_t pairs = heads_ * half_, elements = shape[2] - pairs;
    launch_elements(
        shape[0] * shape[1] * elements,
        Rotate{args.outputs[0].as<float>(), args.inputs[0].as<const float>(), turns, length_,
               shape[2], half_, pairs, Divider(elements), Divider(length_), Divider(half_)},
        stream_of(args));
  }

 private:
  std::int64_t half_, heads_, length_;
  double theta_, sign_;
};

}  // namespace

std::unique_ptr<Kernel> make_position_add(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<PositionAdd>() : nullptr;
}
std::unique_ptr<Kernel> make_position_add_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<PositionAddGrad>() : nullptr;
}
std::unique_ptr<Kernel> make_sinusoid_add(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<SinusoidAdd>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_rope(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<Rope>(spec) : nullptr;
}

}  // namespace dlt::cuda

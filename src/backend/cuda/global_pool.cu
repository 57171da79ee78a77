// SPDX-License-Identifier: Apache-2.0
// global_avg_pool, global_max_pool and their derivatives: x is [batch, places, channels], and a
// mask [batch, places], if there, says which places count. A block has some channels of a sample.
#include <cstdint>
#include <memory>

#include "backend/cuda/columns.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"
#include "tensor/image_geometry.h"

namespace dlt::cuda {
namespace {

using tensor::GlobalPoolGeometry;
using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

constexpr std::int64_t kMostSamplesAtOnce = 65535;  // blocks along y

/// The places of a sample as rows of a matrix.
struct Places {
  ColumnGrid columns;
  std::int64_t batch;
  const float* mask = nullptr;

  explicit Places(const GlobalPoolGeometry& g) : columns(g.places, g.channels), batch(g.batch) {}
  [[nodiscard]] Grid launch_grid(std::int64_t chunks, std::size_t shared_bytes) const {
    const std::int64_t samples = std::min(batch, kMostSamplesAtOnce);
    return {.blocks = dim3(static_cast<unsigned>(columns.tiles()), static_cast<unsigned>(samples),
                           static_cast<unsigned>(chunks)),
            .threads = dim3(kColumnThreads),
            .shared_bytes = shared_bytes};
  }
  [[nodiscard]] __device__ int lane() const {
    return static_cast<int>(threadIdx.x) / columns.width;
  }
  [[nodiscard]] __device__ std::int64_t channel() const {
    return static_cast<std::int64_t>(blockIdx.x) * columns.width +
           static_cast<int>(threadIdx.x) % columns.width;
  }
  [[nodiscard]] __device__ bool counts(std::int64_t sample, std::int64_t place) const {
    return mask == nullptr || mask[sample * columns.rows + place] != 0;
  }
};

/// A place's number, and whether it counts.
struct CountedElement {
  float x;
  bool counts;
};

template <typename Op>
__global__ void __launch_bounds__(kColumnThreads)
    pool_places(Places places, const float* x, Op op) {
  using Part = typename Op::Part;
  auto* shared = dynamic_shared<Part>();
  const std::int64_t c = places.channel(), channels = places.columns.channels;
  for (std::int64_t b = blockIdx.y; b < places.batch; b += gridDim.y) {
    Part part = Op::none();
    if (c < channels) {
      const float* sample = x + b * places.columns.rows * channels + c;
      over_rows(
          ColumnRows{c, places.lane(), places.columns.rows, places.columns.lanes},
          [&](std::int64_t place) {
            return CountedElement{sample[place * channels], places.counts(b, place)};
          },
          [&](std::int64_t place, const CountedElement& element) {
            if (element.counts) part.add(element.x, place);
          },
          [] {});
    }
    shared[threadIdx.x] = part;
    merge_lanes(places.columns.width, places.columns.lanes, shared);
    if (places.lane() == 0 && c < channels) op.finish(b * channels + c, shared[threadIdx.x]);
    __syncthreads();
  }
}

struct Mean {
  float* y;
  struct Part {
    double sum, count;
    __device__ void add(float x, std::int64_t) {
      sum += static_cast<double>(x);
      count += 1;
    }
    __device__ void merge(const Part& other) {
      sum += other.sum;
      count += other.count;
    }
  };
  static __device__ Part none() { return {0, 0}; }
  __device__ void finish(std::int64_t i, const Part& part) const {
    y[i] = part.count > 0 ? static_cast<float>(part.sum / part.count) : 0.0F;
  }
};

/// The largest, the first of equal ones; NaN is the largest of all.
struct Largest {
  float* y;
  std::int32_t* index;
  struct Part {
    float x;
    std::int32_t place;
    __device__ void merge(const Part& other) {
      if (other.place < 0) return;
      const bool before = other.place < place;
      const bool equal = other.x == x || (is_nan(other.x) && is_nan(x));
      const bool larger = other.x > x || (is_nan(other.x) && !is_nan(x));
      if (place < 0 || larger || (equal && before)) *this = other;
    }
    __device__ void add(float value, std::int64_t at) {
      merge(Part{value, static_cast<std::int32_t>(at)});
    }
  };
  static __device__ Part none() { return {0.0F, -1}; }
  __device__ void finish(std::int64_t i, const Part& part) const {
    y[i] = part.x;
    index[i] = part.place;
  }
};

/// Each block counts the sample's places itself.
__global__ void __launch_bounds__(kColumnThreads)
    spread_mean(Places places, const float* dy, float* dx) {
  __shared__ int shared[kColumnThreads / kWarp];
  const std::int64_t c = places.channel(), channels = places.columns.channels;
  const std::int64_t rows = places.columns.rows;
  for (std::int64_t b = blockIdx.y; b < places.batch; b += gridDim.y) {
    int count = 0;
    for (std::int64_t place = threadIdx.x; place < rows; place += kColumnThreads) {
      count += places.counts(b, place) ? 1 : 0;
    }
    count = block_sum(count, shared);
    if (c >= channels) continue;
    const float share = dy[b * channels + c] / static_cast<float>(count);
    const std::int64_t start = blockIdx.z * places.columns.rows_per_block;
    const std::int64_t end = min(rows, start + places.columns.rows_per_block);
    for (std::int64_t place = start + places.lane(); place < end; place += places.columns.lanes) {
      dx[(b * rows + place) * channels + c] = places.counts(b, place) ? share : 0.0F;
    }
  }
}

__global__ void __launch_bounds__(kColumnThreads)
    spread_largest(Places places, const float* dy, const std::int32_t* index, float* dx) {
  const std::int64_t c = places.channel(), channels = places.columns.channels;
  const std::int64_t rows = places.columns.rows;
  if (c >= channels) return;
  for (std::int64_t b = blockIdx.y; b < places.batch; b += gridDim.y) {
    const float value = dy[b * channels + c];
    const std::int32_t chosen = index[b * channels + c];
    const std::int64_t start = blockIdx.z * places.columns.rows_per_block;
    const std::int64_t end = min(rows, start + places.columns.rows_per_block);
    for (std::int64_t place = start + places.lane(); place < end; place += places.columns.lanes) {
      dx[(b * rows + place) * channels + c] = place == chosen ? value : 0.0F;
    }
  }
}

class GlobalAvgPool final : public Kernel {
 public:
  explicit GlobalAvgPool(const KernelSpec& spec)
      : places_(tensor::global_pool_geometry(spec.inputs[0].shape)) {}
  void run(const KernelArgs& args) const override {
    Places places = places_;
    if (args.inputs.size() > 1) places.mask = args.inputs[1].as<const float>();
    launch(pool_places<Mean>, places.launch_grid(1, kColumnThreads * sizeof(Mean::Part)),
           stream_of(args), places, args.inputs[0].as<const float>(),
           Mean{args.outputs[0].as<float>()});
  }

 private:
  Places places_;
};

class GlobalMaxPool final : public Kernel {
 public:
  explicit GlobalMaxPool(const KernelSpec& spec)
      : places_(tensor::global_pool_geometry(spec.inputs[0].shape)) {}
  void run(const KernelArgs& args) const override {
    Places places = places_;
    if (args.inputs.size() > 1) places.mask = args.inputs[1].as<const float>();
    launch(pool_places<Largest>, places.launch_grid(1, kColumnThreads * sizeof(Largest::Part)),
           stream_of(args), places, args.inputs[0].as<const float>(),
           Largest{args.outputs[0].as<float>(), args.outputs[1].as<std::int32_t>()});
  }

 private:
  Places places_;
};

class GlobalAvgPoolGrad final : public Kernel {
 public:
  explicit GlobalAvgPoolGrad(const KernelSpec& spec)
      : places_(tensor::global_pool_geometry(spec.outputs[0].shape)) {}
  void run(const KernelArgs& args) const override {
    Places places = places_;
    if (args.inputs.size() > 1) places.mask = args.inputs[1].as<const float>();
    launch(spread_mean, places.launch_grid(places.columns.chunks, 0), stream_of(args), places,
           args.inputs[0].as<const float>(), args.outputs[0].as<float>());
  }

 private:
  Places places_;
};

class GlobalMaxPoolGrad final : public Kernel {
 public:
  explicit GlobalMaxPoolGrad(const KernelSpec& spec)
      : places_(tensor::global_pool_geometry(spec.outputs[0].shape)) {}
  void run(const KernelArgs& args) const override {
    launch(spread_largest, places_.launch_grid(places_.columns.chunks, 0), stream_of(args), places_,
           args.inputs[0].as<const float>(), args.inputs[1].as<const std::int32_t>(),
           args.outputs[0].as<float>());
  }

 private:
  Places places_;
};

}  // namespace

std::unique_ptr<Kernel> make_global_avg_pool(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GlobalAvgPool>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_global_max_pool(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GlobalMaxPool>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_global_avg_pool_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GlobalAvgPoolGrad>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_global_max_pool_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GlobalMaxPoolGrad>(spec) : nullptr;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// group_norm, group_norm_grad: a block for each group of each sample. x is [batch, rows, groups,
// width].
#include <cstdint>
#include <memory>

#include "backend/cuda/columns.h"
#include "backend/cuda/divider.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::Shape;

constexpr int kGroupThreads = 256;

struct Groups {
  std::int64_t batch, rows, groups, width;
  Divider by_width;

  Groups(const Shape& x, std::int64_t num_groups)
      : batch(x[0]),
        rows(x.rows() / x[0]),
        groups(num_groups),
        width(x.last() / num_groups),
        by_width(width) {}
  [[nodiscard]] Grid launch_grid() const {
    constexpr std::int64_t kMostBlocks = 1 << 20;
    return {.blocks = dim3(static_cast<unsigned>(std::min(kMostBlocks, batch * groups))),
            .threads = dim3(kGroupThreads)};
  }
  [[nodiscard]] __device__ double size() const { return static_cast<double>(rows * width); }
  /// f(element, channel) for what this thread has of group k of all samples' groups.
  template <typename F>
  __device__ void each(std::int64_t k, F f) const {
    const std::int64_t sample = k / groups, first_channel = k % groups * width;
    const std::int64_t channels = groups * width;
    for (std::int64_t i = threadIdx.x; i < rows * width; i += kGroupThreads) {
      std::int64_t within = i;
      const std::int64_t row = sample * rows + by_width.take(within);
      f(row * channels + first_channel + within, first_channel + within);
    }
  }
};

struct GroupNorm {
  const float *x, *gamma, *beta;
  float *y, *mean, *inv_std;
  double eps;
};

__global__ void __launch_bounds__(kGroupThreads) norm_groups(Groups groups, GroupNorm p) {
  __shared__ double shared[kGroupThreads / kWarp];
  for (std::int64_t k = blockIdx.x; k < groups.batch * groups.groups; k += gridDim.x) {
    double total = 0, squares = 0;
    groups.each(k, [&](std::int64_t i, std::int64_t) { total += static_cast<double>(p.x[i]); });
    const auto mean = static_cast<float>(block_sum(total, shared) / groups.size());
    groups.each(k, [&](std::int64_t i, std::int64_t) {
      squares += static_cast<double>((p.x[i] - mean) * (p.x[i] - mean));
    });
    const double variance = block_sum(squares, shared) / groups.size();
    const auto inv_std = static_cast<float>(1.0 / sqrt(variance + p.eps));
    groups.each(k, [&](std::int64_t i, std::int64_t c) {
      p.y[i] = fmaf((p.x[i] - mean) * inv_std, p.gamma[c], p.beta[c]);
    });
    if (threadIdx.x == 0) {
      p.mean[k] = mean;
      p.inv_std[k] = inv_std;
    }
  }
}

class GroupNormKernel final : public Kernel {
 public:
  explicit GroupNormKernel(const KernelSpec& spec)
      : groups_(spec.inputs[0].shape, spec.attrs.integer("groups", 1)),
        eps_(spec.attrs.number("eps", 1e-5)) {}
  void run(const KernelArgs& args) const override {
    const GroupNorm p{args.inputs[0].as<const float>(),
                      args.inputs[1].as<const float>(),
                      args.inputs[2].as<const float>(),
                      args.outputs[0].as<float>(),
                      args.outputs[1].as<float>(),
                      args.outputs[2].as<float>(),
                      eps_};
    launch(norm_groups, groups_.launch_grid(), stream_of(args), groups_, p);
  }

 private:
  Groups groups_;
  double eps_;
};

/// dx = inv_std (g - mean(g) - x̂ mean(g x̂)) with g = gamma dy, means over the group
struct GroupNormGrad {
  const float *x = nullptr, *dy = nullptr, *gamma = nullptr, *mean = nullptr, *inv_std = nullptr;
  float *dx = nullptr, *dgamma = nullptr, *dbeta = nullptr;
  std::int64_t rows = 0, groups = 0, width = 0;

  struct Numbers {
    float normal, dy;
  };
  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    SumsOfRows sums;
    const std::int64_t c = columns.channel, group = c / width, channels = groups * width;
    over_rows(
        columns,
        [&](std::int64_t row) {
          const std::int64_t k = walk.next() * groups + group;
          return Numbers{(x[row * channels + c] - mean[k]) * inv_std[k], dy[row * channels + c]};
        },
        [&](std::int64_t, const Numbers& at) { sums.add(at.dy * at.normal, at.dy); },
        [&] { sums.flush(); });
    return sums.total();
  }
  __device__ void finish(std::int64_t c, const Sums& sums) const {
    dgamma[c] = static_cast<float>(sums.a);
    dbeta[c] = static_cast<float>(sums.b);
  }
};

__global__ void __launch_bounds__(kGroupThreads) grad_of_groups(Groups groups, GroupNormGrad p) {
  __shared__ double shared[kGroupThreads / kWarp];
  for (std::int64_t k = blockIdx.x; k < groups.batch * groups.groups; k += gridDim.x) {
    const float mean = p.mean[k], inv_std = p.inv_std[k];
    double sum = 0, product = 0;
    groups.each(k, [&](std::int64_t i, std::int64_t c) {
      const float g = p.gamma[c] * p.dy[i];
      sum += static_cast<double>(g);
      product += static_cast<double>(g * ((p.x[i] - mean) * inv_std));
    });
    const auto shift = static_cast<float>(block_sum(sum, shared) / groups.size());
    const auto slope = static_cast<float>(block_sum(product, shared) / groups.size());
    groups.each(k, [&](std::int64_t i, std::int64_t c) {
      const float normal = (p.x[i] - mean) * inv_std;
      p.dx[i] = inv_std * (p.gamma[c] * p.dy[i] - shift - normal * slope);
    });
  }
}

class GroupNormGradKernel final : public Kernel {
 public:
  explicit GroupNormGradKernel(const KernelSpec& spec)
      : groups_(spec.inputs[0].shape, spec.attrs.integer("groups", 1)),
        columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return column_scratch_bytes<GroupNormGrad>(columns_);
  }
  void run(const KernelArgs& args) const override {
    GroupNormGrad p;
    p.x = args.inputs[0].as<const float>();
    p.dy = args.inputs[1].as<const float>();
    p.gamma = args.inputs[2].as<const float>();
    p.mean = args.inputs[3].as<const float>();
    p.inv_std = args.inputs[4].as<const float>();
    p.dx = args.outputs[0].as<float>();
    p.dgamma = args.outputs[1].as<float>();
    p.dbeta = args.outputs[2].as<float>();
    p.rows = groups_.rows;
    p.groups = groups_.groups;
    p.width = groups_.width;
    reduce_columns(columns_, p, args.scratch, stream_of(args));  // first: dx may lie over x
    launch(grad_of_groups, groups_.launch_grid(), stream_of(args), groups_, p);
  }

 private:
  Groups groups_;
  ColumnGrid columns_;
};

}  // namespace

std::unique_ptr<Kernel> make_group_norm(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GroupNormKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_group_norm_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<GroupNormGradKernel>(spec) : nullptr;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// batch_moments, batch_norm_moments and their derivatives: batch_norm in pieces, between which the
// sums of all leaves are added. x is [batch, rows, channels].
#include <cstdint>
#include <memory>

#include "backend/cuda/columns.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

struct BatchMoments {
  const float *x = nullptr, *weight = nullptr, *shift = nullptr;
  float* m = nullptr;
  std::int64_t channels = 0, rows = 0;  // rows of a sample

  struct Element {
    float x;
    bool counts;
  };
  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    SumsOfRows sums;
    const float centre = shift[columns.channel];
    over_rows(
        columns,
        [&](std::int64_t row) {
          return Element{x[row * channels + columns.channel], weight[walk.next()] != 0};
        },
        [&](std::int64_t, const Element& element) {
          if (!element.counts) return;
          const float d = element.x - centre;
          sums.add(d, d * d);
        },
        [&] { sums.flush(); });
    return sums.total();
  }
  __device__ void finish(std::int64_t c, const Sums& sums) const {
    m[c] = static_cast<float>(sums.a);
    m[channels + c] = static_cast<float>(sums.b);
    if (c == 0) m[2 * channels] = static_cast<float>(sums.count);
  }
};

/// dx = weight (dΣ₁ + 2 (x - shift) dΣ₂)
struct BatchMomentsGrad {
  const float *x = nullptr, *weight = nullptr, *shift = nullptr, *dm = nullptr;
  float* dx = nullptr;
  std::int64_t channels = 0, rows = 0;

  __device__ void apply(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    const std::int64_t c = columns.channel;
    const float centre = shift[c], constant = dm[c], slope = 2.0F * dm[channels + c];
    over_rows(
        columns,
        [&](std::int64_t row) {
          return BatchMoments::Element{x[row * channels + c], weight[walk.next()] != 0};
        },
        [&](std::int64_t row, const BatchMoments::Element& element) {
          const float g = fmaf(element.x - centre, slope, constant);
          dx[row * channels + c] = element.counts ? g : 0.0F;
        },
        [] {});
  }
};

/// The moments of a channel that m [2 channels + 1] tells.
struct ChannelMoments {
  double count, distance, variance, inv_std;  // distance of the mean from shift
  __device__ ChannelMoments(const float* m, std::int64_t channels, std::int64_t c, double eps)
      : count(static_cast<double>(m[2 * channels])) {
    distance = count > 0 ? static_cast<double>(m[c]) / count : 0;
    const double squares = count > 0 ? static_cast<double>(m[channels + c]) / count : 0;
    variance = max(squares - distance * distance, 0.0);  // less is rounding
    inv_std = 1.0 / sqrt(variance + eps);
  }
};

struct BatchNormMoments {
  const float *x = nullptr, *gamma = nullptr, *beta = nullptr, *m = nullptr, *shift = nullptr;
  float* y = nullptr;
  std::int64_t channels = 0;
  double eps = 0;

  __device__ void apply(const ColumnRows& columns) const {
    const std::int64_t c = columns.channel;
    const ChannelMoments moments(m, channels, c, eps);
    const auto mean = static_cast<float>(static_cast<double>(shift[c]) + moments.distance);
    const auto scale = static_cast<float>(static_cast<double>(gamma[c]) * moments.inv_std);
    const float constant = beta[c];
    over_rows(
        columns, [&](std::int64_t row) { return x[row * channels + c]; },
        [&](std::int64_t row, float element) {
          y[row * channels + c] = fmaf(element - mean, scale, constant);
        },
        [] {});
  }
};

/// dx = γ r dy; dγ = Σ dy x̂; dβ = Σ dy; with r = (v + ε)^-½, dmean = -γ r dβ, dv = -½ γ r² dγ:
/// dΣ₁ = (dmean - 2 dv Σ₁/n) / n, dΣ₂ = dv / n, dn = -Σ (n dΣ₁ Σ₁ + n dΣ₂ Σ₂) / n²
struct BatchNormMomentsGrad {
  const float *x = nullptr, *dy = nullptr, *gamma = nullptr, *m = nullptr, *shift = nullptr;
  float *dx = nullptr, *dgamma = nullptr, *dbeta = nullptr, *dm = nullptr;
  double* dcount = nullptr;  // [channels]
  std::int64_t channels = 0;
  double eps = 0;

  struct Numbers {
    float x, dy;
  };
  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    const std::int64_t c = columns.channel;
    const ChannelMoments moments(m, channels, c, eps);
    const auto mean = static_cast<float>(static_cast<double>(shift[c]) + moments.distance);
    const auto inv_std = static_cast<float>(moments.inv_std);
    const auto scale = static_cast<float>(static_cast<double>(gamma[c]) * moments.inv_std);
    SumsOfRows sums;
    over_rows(
        columns,
        [&](std::int64_t row) {
          return Numbers{x[row * channels + c], dy[row * channels + c]};
        },
        [&](std::int64_t row, const Numbers& at) {
          sums.add(at.dy * ((at.x - mean) * inv_std), at.dy);
          dx[row * channels + c] = scale * at.dy;
        },
        [&] { sums.flush(); });
    return sums.total();
  }
  __device__ void finish(std::int64_t c, const Sums& sums) const {
    const ChannelMoments k(m, channels, c, eps);
    const double slope = static_cast<double>(gamma[c]) * k.inv_std;
    const double dv = k.variance > 0 ? -0.5 * slope * k.inv_std * sums.a : 0.0;
    const double ddistance = -slope * sums.b - 2 * dv * k.distance;
    dgamma[c] = static_cast<float>(sums.a);
    dbeta[c] = static_cast<float>(sums.b);
    dm[c] = static_cast<float>(k.count > 0 ? ddistance / k.count : 0);
    dm[channels + c] = static_cast<float>(k.count > 0 ? dv / k.count : 0);
    dcount[c] =
        k.count > 0
            ? -(ddistance * static_cast<double>(m[c]) + dv * static_cast<double>(m[channels + c])) /
                  (k.count * k.count)
            : 0.0;
  }
};

/// The derivative by the number of elements: the sum over channels.
struct SumOfCounts {
  const double* dcount = nullptr;
  float* out = nullptr;

  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    Sums sums{};
    for (std::int64_t c = columns.first; c < columns.end; c += columns.step) sums.a += dcount[c];
    return sums;
  }
  __device__ void finish(std::int64_t, const Sums& sums) const {
    *out = static_cast<float>(sums.a);
  }
};

class BatchMomentsKernel final : public Kernel {
 public:
  explicit BatchMomentsKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()),
        batch_(spec.inputs[0].shape[0]) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return column_scratch_bytes<BatchMoments>(columns_);
  }
  void run(const KernelArgs& args) const override {
    BatchMoments op;
    op.x = args.inputs[0].as<const float>();
    op.weight = args.inputs[1].as<const float>();
    op.shift = args.inputs[2].as<const float>();
    op.m = args.outputs[0].as<float>();
    op.channels = columns_.channels;
    op.rows = columns_.rows / batch_;
    reduce_columns(columns_, op, args.scratch, stream_of(args));
  }

 private:
  ColumnGrid columns_;
  std::int64_t batch_;
};

class BatchMomentsGradKernel final : public Kernel {
 public:
  explicit BatchMomentsGradKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()),
        batch_(spec.inputs[0].shape[0]) {}
  void run(const KernelArgs& args) const override {
    BatchMomentsGrad op;
    op.x = args.inputs[0].as<const float>();
    op.weight = args.inputs[1].as<const float>();
    op.shift = args.inputs[2].as<const float>();
    op.dm = args.inputs[3].as<const float>();
    op.dx = args.outputs[0].as<float>();
    op.channels = columns_.channels;
    op.rows = columns_.rows / batch_;
    apply_columns(columns_, op, stream_of(args));
  }

 private:
  ColumnGrid columns_;
  std::int64_t batch_;
};

class BatchNormMomentsKernel final : public Kernel {
 public:
  explicit BatchNormMomentsKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()),
        eps_(spec.attrs.number("eps", 1e-5)) {}
  void run(const KernelArgs& args) const override {
    BatchNormMoments op;
    op.x = args.inputs[0].as<const float>();
    op.gamma = args.inputs[1].as<const float>();
    op.beta = args.inputs[2].as<const float>();
    op.m = args.inputs[3].as<const float>();
    op.shift = args.inputs[4].as<const float>();
    op.y = args.outputs[0].as<float>();
    op.channels = columns_.channels;
    op.eps = eps_;
    apply_columns(columns_, op, stream_of(args));
  }

 private:
  ColumnGrid columns_;
  double eps_;
};

class BatchNormMomentsGradKernel final : public Kernel {
 public:
  explicit BatchNormMomentsGradKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()),
        counts_(columns_.channels, 1),
        eps_(spec.attrs.number("eps", 1e-5)) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return counts_bytes() + std::max(column_scratch_bytes<BatchNormMomentsGrad>(columns_),
                                     column_scratch_bytes<SumOfCounts>(counts_));
  }
  void run(const KernelArgs& args) const override {
    BatchNormMomentsGrad op;
    op.x = args.inputs[0].as<const float>();
    op.dy = args.inputs[1].as<const float>();
    op.gamma = args.inputs[2].as<const float>();
    op.m = args.inputs[3].as<const float>();
    op.shift = args.inputs[4].as<const float>();
    op.dx = args.outputs[0].as<float>();
    op.dgamma = args.outputs[1].as<float>();
    op.dbeta = args.outputs[2].as<float>();
    op.dm = args.outputs[3].as<float>();
    op.dcount = reinterpret_cast<double*>(args.scratch);
    op.channels = columns_.channels;
    op.eps = eps_;
    std::byte* parts = args.scratch + counts_bytes();
    reduce_columns(columns_, op, parts, stream_of(args));
    const SumOfCounts total{op.dcount, op.dm + 2 * columns_.channels};
    reduce_columns(counts_, total, parts, stream_of(args));
  }

 private:
  [[nodiscard]] std::int64_t counts_bytes() const {
    return columns_.channels * static_cast<std::int64_t>(sizeof(double));
  }
  ColumnGrid columns_, counts_;
  double eps_;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_moments(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchMomentsKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_moments_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchMomentsGradKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_norm_moments(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormMomentsKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_norm_moments_grad(const KernelSpec& spec,
                                                     const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormMomentsGradKernel>(spec) : nullptr;
}

}  // namespace dlt::cuda

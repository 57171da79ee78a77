// SPDX-License-Identifier: Apache-2.0
// batch_norm, batch_norm_grad, batch_norm_inference, batch_norm_statistics: x is [batch, rows,
// channels], with the samples whose weight is not 0.
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
using tensor::Shape;

/// Number, mean and sum of squared distances from it of some elements of a channel.
/// source  Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", for merge()
struct Moments {
  double count, mean, squares;
  __device__ void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, distance = other.mean - mean;
    squares += other.squares + distance * distance * count * other.count / total;
    mean += distance * other.count / total;
    count = total;
  }
};

/// An element, and whether its sample counts.
struct Element {
  float x;
  bool counts;
};

struct BatchNorm {
  const float *x = nullptr, *gamma = nullptr, *beta = nullptr, *weight = nullptr, *past = nullptr;
  float *y = nullptr, *mean = nullptr, *inv_std = nullptr, *variance = nullptr;
  std::int64_t channels = 0, rows = 0;  // rows of a sample
  double eps = 0;
  bool relu = false;

  using Part = Moments;
  /// Sums are of distances from the first element, which is as good as any.
  __device__ Moments part(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    SumsOfRows sums;
    float shift = 0;
    over_rows(
        columns,
        [&](std::int64_t row) {
          return Element{x[row * channels + columns.channel], weight[walk.next()] != 0};
        },
        [&](std::int64_t, const Element& element) {
          if (!element.counts) return;
          if (sums.empty()) shift = element.x;
          const float d = element.x - shift;
          sums.add(d, d * d);
        },
        [&] { sums.flush(); });
    const Sums total = sums.total();
    if (total.count == 0) return {};
    const double mean_of_these = total.a / total.count;
    return {total.count, static_cast<double>(shift) + mean_of_these,
            max(total.b - total.a * mean_of_these, 0.0)};
  }
  __device__ void finish(std::int64_t channel, const Moments& moments) const {
    const double v = moments.count > 0 ? moments.squares / moments.count : 0;
    mean[channel] = static_cast<float>(moments.mean);
    variance[channel] = static_cast<float>(v);
    inv_std[channel] = static_cast<float>(1.0 / sqrt(v + eps));
  }
  /// What does not count is 0 in front of past.
  __device__ void apply(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    const std::int64_t c = columns.channel;
    const float centre = mean[c], scale = gamma[c] * inv_std[c], shift = beta[c];
    over_rows(
        columns,
        [&](std::int64_t row) {
          return Element{x[row * channels + c], weight[walk.next()] != 0};
        },
        [&](std::int64_t row, const Element& element) {
          float v = element.counts ? fmaf(element.x - centre, scale, shift) : 0.0F;
          if (past != nullptr) v += past[row * channels + c];
          y[row * channels + c] = relu && v < 0 ? 0.0F : v;
        },
        [] {});
  }
};

class BatchNormKernel final : public Kernel {
 public:
  explicit BatchNormKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()) {
    plan_.channels = columns_.channels;
    plan_.rows = columns_.rows / spec.inputs[0].shape[0];
    plan_.eps = spec.attrs.number("eps", 1e-5);
    plan_.relu = spec.attrs.word("activation", "none") == "relu";
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return column_scratch_bytes<BatchNorm>(columns_);
  }
  void run(const KernelArgs& args) const override {
    BatchNorm op = plan_;
    op.x = args.inputs[0].as<const float>();
    op.gamma = args.inputs[1].as<const float>();
    op.beta = args.inputs[2].as<const float>();
    op.weight = args.inputs[3].as<const float>();
    if (args.inputs.size() > 4) op.past = args.inputs[4].as<const float>();
    op.y = args.outputs[0].as<float>();
    op.mean = args.outputs[1].as<float>();
    op.inv_std = args.outputs[2].as<float>();
    op.variance = args.outputs[3].as<float>();
    reduce_columns(columns_, op, args.scratch, stream_of(args));
    apply_columns(columns_, op, stream_of(args));
  }

 private:
  ColumnGrid columns_;
  BatchNorm plan_;
};

/// Sums of slope x̂ and slope over the samples that count; slope is dy where relu let it through.
struct BatchNormGrad {
  const float *x = nullptr, *dy = nullptr, *gamma = nullptr, *beta = nullptr, *mean = nullptr,
              *inv_std = nullptr, *weight = nullptr, *y = nullptr;
  float *dx = nullptr, *dgamma = nullptr, *dbeta = nullptr, *dpast = nullptr;
  double* sums = nullptr;  // [3, channels]: both sums and the number of elements
  std::int64_t channels = 0, rows = 0;
  bool relu = false;

  struct Numbers {
    float x, slope;
    bool counts;
  };
  struct Channel {
    float mean, inv_std, scale, beta;
  };
  __device__ Channel channel(std::int64_t c) const {
    return {mean[c], inv_std[c], gamma[c] * inv_std[c], beta[c]};
  }
  /// The derivative behind relu where the output is not at hand: as in the forward pass.
  __device__ float slope_of(float v, float d, const Channel& of) const {
    return relu && fmaf(v - of.mean, of.scale, of.beta) <= 0 ? 0.0F : d;
  }

  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    const Channel of = channel(columns.channel);
    SumsOfRows totals;
    over_rows(
        columns,
        [&](std::int64_t row) {
          const std::int64_t i = row * channels + columns.channel;
          Numbers at{x[i], dy[i], weight[walk.next()] != 0};
          if (y != nullptr && !(y[i] > 0)) at.slope = 0;
          return at;
        },
        [&](std::int64_t row, const Numbers& at) {
          if (y != nullptr) dpast[row * channels + columns.channel] = at.slope;
          if (!at.counts) return;
          const float slope = y != nullptr ? at.slope : slope_of(at.x, at.slope, of);
          totals.add(slope * ((at.x - of.mean) * of.inv_std), slope);
        },
        [&] { totals.flush(); });
    return totals.total();
  }
  __device__ void finish(std::int64_t c, const Sums& totals) const {
    dgamma[c] = static_cast<float>(totals.a);
    dbeta[c] = static_cast<float>(totals.b);
    sums[c] = totals.a;
    sums[channels + c] = totals.b;
    sums[2 * channels + c] = totals.count;
  }
  __device__ void apply(const ColumnRows& columns) const {
    SampleWalk walk(columns, rows);
    const std::int64_t c = columns.channel;
    const Channel of = channel(c);
    const double n = sums[2 * channels + c];
    const auto along = static_cast<float>(n > 0 ? sums[c] / n : 0);
    const auto shift = static_cast<float>(n > 0 ? sums[channels + c] / n : 0);
    const float* slopes = y != nullptr ? dpast : dy;
    over_rows(
        columns,
        [&](std::int64_t row) {
          const std::int64_t i = row * channels + c;
          return Numbers{x[i], slopes[i], weight[walk.next()] != 0};
        },
        [&](std::int64_t row, const Numbers& at) {
          const float slope = y != nullptr ? at.slope : slope_of(at.x, at.slope, of);
          const float normal = (at.x - of.mean) * of.inv_std;
          dx[row * channels + c] = at.counts ? of.scale * (slope - shift - normal * along) : 0.0F;
        },
        [] {});
  }
};

class BatchNormGradKernel final : public Kernel {
 public:
  explicit BatchNormGradKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()) {
    plan_.channels = columns_.channels;
    plan_.rows = columns_.rows / spec.inputs[0].shape[0];
    plan_.relu = spec.attrs.word("activation", "none") == "relu";
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return sums_bytes() + column_scratch_bytes<BatchNormGrad>(columns_);
  }
  void run(const KernelArgs& args) const override {
    BatchNormGrad op = plan_;
    op.x = args.inputs[0].as<const float>();
    op.dy = args.inputs[1].as<const float>();
    op.gamma = args.inputs[2].as<const float>();
    op.beta = args.inputs[3].as<const float>();
    op.mean = args.inputs[4].as<const float>();
    op.inv_std = args.inputs[5].as<const float>();
    op.weight = args.inputs[6].as<const float>();
    op.dx = args.outputs[0].as<float>();
    op.dgamma = args.outputs[1].as<float>();
    op.dbeta = args.outputs[2].as<float>();
    if (args.inputs.size() > 7) {
      op.y = args.inputs[7].as<const float>();
      op.dpast = args.outputs[3].as<float>();
    }
    op.sums = reinterpret_cast<double*>(args.scratch);
    reduce_columns(columns_, op, args.scratch + sums_bytes(), stream_of(args));
    apply_columns(columns_, op, stream_of(args));
  }

 private:
  [[nodiscard]] std::int64_t sums_bytes() const {
    return 3 * columns_.channels * static_cast<std::int64_t>(sizeof(double));
  }
  ColumnGrid columns_;
  BatchNormGrad plan_;
};

struct BatchNormInference {
  const float *x = nullptr, *gamma = nullptr, *beta = nullptr, *mean = nullptr, *variance = nullptr,
              *past = nullptr;
  float* y = nullptr;
  std::int64_t channels = 0;
  double eps = 0;
  bool relu = false;

  __device__ void apply(const ColumnRows& columns) const {
    const std::int64_t c = columns.channel;
    const double root = sqrt(static_cast<double>(variance[c]) + eps);
    const auto scale = static_cast<float>(static_cast<double>(gamma[c]) / root);
    const float centre = mean[c], shift = beta[c];
    over_rows(
        columns, [&](std::int64_t row) { return x[row * channels + c]; },
        [&](std::int64_t row, float element) {
          float v = fmaf(element - centre, scale, shift);
          if (past != nullptr) v += past[row * channels + c];
          y[row * channels + c] = relu && v < 0 ? 0.0F : v;
        },
        [] {});
  }
};

class BatchNormInferenceKernel final : public Kernel {
 public:
  explicit BatchNormInferenceKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()) {
    plan_.channels = columns_.channels;
    plan_.eps = spec.attrs.number("eps", 1e-5);
    plan_.relu = spec.attrs.word("activation", "none") == "relu";
  }
  void run(const KernelArgs& args) const override {
    BatchNormInference op = plan_;
    op.x = args.inputs[0].as<const float>();
    op.gamma = args.inputs[1].as<const float>();
    op.beta = args.inputs[2].as<const float>();
    op.mean = args.inputs[3].as<const float>();
    op.variance = args.inputs[4].as<const float>();
    if (args.inputs.size() > 5) op.past = args.inputs[5].as<const float>();
    op.y = args.outputs[0].as<float>();
    apply_columns(columns_, op, stream_of(args));
  }

 private:
  ColumnGrid columns_;
  BatchNormInference plan_;
};

/// The sum of all weights in each thread: the batch is short and its weights stay in the cache.
struct BatchNormStatistics {
  const float *mean, *variance, *weight, *running_mean;
  float *first, *second;
  std::int64_t batch;
  __device__ void operator()(std::int64_t c) const {
    double total = 0;
    for (std::int64_t b = 0; b < batch; ++b) total += static_cast<double>(weight[b]);
    const double shift = static_cast<double>(mean[c]) - static_cast<double>(running_mean[c]);
    first[c] = static_cast<float>(total * shift);
    second[c] = static_cast<float>(total * (static_cast<double>(variance[c]) + shift * shift));
  }
};

class BatchNormStatisticsKernel final : public Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const BatchNormStatistics op{args.inputs[0].as<const float>(),
                                 args.inputs[1].as<const float>(),
                                 args.inputs[2].as<const float>(),
                                 args.inputs[3].as<const float>(),
                                 args.outputs[0].as<float>(),
                                 args.outputs[1].as<float>(),
                                 args.inputs[2].numel()};
    launch_elements(args.inputs[0].numel(), op, stream_of(args));
  }
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_norm_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormGradKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_norm_inference(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormInferenceKernel>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_batch_norm_statistics(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<BatchNormStatisticsKernel>() : nullptr;
}

}  // namespace dlt::cuda

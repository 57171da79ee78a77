// SPDX-License-Identifier: Apache-2.0
// ctc_loss and its derivative: a block goes through the trellis of a sample, whose states are
// blank, label, blank, ..., blank; then a warp gathers the gradient of each step. Logarithms are
// kept in f64; the sum of three terms beside the largest, at most log 3, is made in f32.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

constexpr int kCtcThreads = 256;
constexpr double kNever = -std::numeric_limits<double>::infinity();

/// What is known of a sample once its block has read it.
struct Sample {
  double total;  // log-probability of the labels
  std::int32_t steps, labels;
  bool valid;  // all labels are classes other than the blank: a device cannot refuse them
};

struct Ctc {
  const float *logp = nullptr, *mask = nullptr;
  const std::int32_t* labels = nullptr;
  std::int64_t batch = 0, steps = 0, classes = 0, max_labels = 0;
  std::int64_t alpha_rows = 0;  // steps for gradients, 2 for the loss alone
  std::int32_t blank = 0;
  bool per_label = false, zero_infinity = false;
  // Scratch:
  double* alpha = nullptr;         // [batch, alpha_rows, states]
  double* beta = nullptr;          // [batch, 2, states], with the emission; for gradients
  Sample* samples = nullptr;       // [batch]
  std::int32_t* chains = nullptr;  // [batch, max_labels]: see link_labels()

  [[nodiscard]] __device__ std::int64_t max_states() const { return 2 * max_labels + 1; }
  [[nodiscard]] __device__ const std::int32_t* labels_of(std::int64_t sample) const {
    return labels + sample * max_labels;
  }
  [[nodiscard]] __device__ double* alpha_row(std::int64_t sample, std::int64_t t) const {
    return alpha + (sample * alpha_rows + t % alpha_rows) * max_states();
  }
  [[nodiscard]] __device__ double* beta_row(std::int64_t sample, std::int64_t t) const {
    return beta + (sample * 2 + t % 2) * max_states();
  }
  [[nodiscard]] __device__ double emission(std::int64_t sample, std::int64_t t,
                                           std::int64_t s) const {
    const std::int64_t c = s % 2 == 0 ? blank : labels_of(sample)[s / 2];
    return static_cast<double>(logp[(sample * steps + t) * classes + c]);
  }
  /// Whether a path may come to state s from s - 2: not past a blank between equal labels.
  [[nodiscard]] __device__ bool may_skip(std::int64_t sample, std::int64_t s) const {
    const std::int32_t* of = labels_of(sample);
    return s % 2 != 0 && s >= 3 && of[s / 2] != of[s / 2 - 1];
  }
  [[nodiscard]] __device__ double divisor(const Sample& sample) const {
    return per_label ? static_cast<double>(max(1, sample.labels)) : 1.0;
  }
};

__device__ double log_sum_of_three(double a, double b, double c) {
  const double high = max(a, max(b, c));
  if (high == kNever) return high;
  const float total = expf(static_cast<float>(a - high)) + expf(static_cast<float>(b - high)) +
                      expf(static_cast<float>(c - high));
  return high + static_cast<double>(logf(total));
}

/// Labels are those in front of the first -1; steps those whose mask is 1.
__device__ Sample read_sample(const Ctc& p, std::int64_t b) {
  __shared__ int num_labels, num_bad;
  __shared__ int shared[kCtcThreads / kWarp];
  const std::int32_t* labels = p.labels_of(b);
  if (threadIdx.x == 0) {
    num_labels = static_cast<int>(p.max_labels);
    num_bad = 0;
  }
  __syncthreads();
  int steps = 0;
  for (std::int64_t i = threadIdx.x; i < p.max_labels; i += blockDim.x) {
    if (labels[i] == -1) atomicMin(&num_labels, static_cast<int>(i));
  }
  for (std::int64_t t = threadIdx.x; p.mask != nullptr && t < p.steps; t += blockDim.x) {
    steps += p.mask[b * p.steps + t] > 0.5F ? 1 : 0;
  }
  steps = p.mask == nullptr ? static_cast<int>(p.steps) : block_sum(steps, shared);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < num_labels; i += static_cast<int>(blockDim.x)) {
    const bool good = labels[i] >= 0 && labels[i] < p.classes && labels[i] != p.blank;
    if (!good) atomicAdd(&num_bad, 1);
  }
  __syncthreads();
  return {kNever, steps, num_labels, num_bad == 0};
}

/// The log-probability of the labels; alpha(t, s) is that of all ways to be in s after step t.
__device__ double walk_forward(const Ctc& p, std::int64_t b, const Sample& sample) {
  const std::int64_t states = 2 * sample.labels + 1;
  for (std::int64_t t = 0; t < sample.steps; ++t) {
    const double* before = p.alpha_row(b, t + p.alpha_rows - 1);
    double* row = p.alpha_row(b, t);
    for (std::int64_t s = threadIdx.x; s < states; s += blockDim.x) {
      double from = s < 2 ? 0.0 : kNever;
      if (t > 0) {
        from = log_sum_of_three(before[s], s >= 1 ? before[s - 1] : kNever,
                                p.may_skip(b, s) ? before[s - 2] : kNever);
      }
      row[s] = from + p.emission(b, t, s);
    }
    __syncthreads();
  }
  if (sample.steps == 0) return states == 1 ? 0.0 : kNever;
  const double* last = p.alpha_row(b, sample.steps - 1);
  return log_sum_of_three(last[states - 1], states > 1 ? last[states - 2] : kNever, kNever);
}

/// Adds to each alpha(t, s) the log-probability of all ways from there to the end.
__device__ void walk_backward(const Ctc& p, std::int64_t b, const Sample& sample) {
  const std::int64_t states = 2 * sample.labels + 1;
  for (std::int64_t t = sample.steps - 1; t >= 0; --t) {
    const double* behind = p.beta_row(b, t + 1);
    double *row = p.beta_row(b, t), *alpha = p.alpha_row(b, t);
    for (std::int64_t s = threadIdx.x; s < states; s += blockDim.x) {
      double to_end = s >= states - 2 ? 0.0 : kNever;
      if (t + 1 < sample.steps) {
        const bool skip = s + 2 < states && p.may_skip(b, s + 2);
        to_end = log_sum_of_three(behind[s], s + 1 < states ? behind[s + 1] : kNever,
                                  skip ? behind[s + 2] : kNever);
      }
      row[s] = to_end + p.emission(b, t, s);
      alpha[s] += to_end;
    }
    __syncthreads();
  }
}

/// The places of a label are a chain: chains[i] is the next place, 0 at the last one, plus kFirst
/// at the first.
constexpr std::int32_t kFirst = 1 << 30;
__device__ void link_labels(const Ctc& p, std::int64_t b, const Sample& sample) {
  const std::int32_t* labels = p.labels_of(b);
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < sample.labels;
       i += static_cast<std::int32_t>(blockDim.x)) {
    std::int32_t before = i - 1, next = i + 1;
    while (before >= 0 && labels[before] != labels[i]) --before;
    while (next < sample.labels && labels[next] != labels[i]) ++next;
    p.chains[b * p.max_labels + i] = (before < 0 ? kFirst : 0) | (next < sample.labels ? next : 0);
  }
}

__global__ void __launch_bounds__(kCtcThreads) ctc_loss(Ctc p, float* loss) {
  for (std::int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    const Sample sample = read_sample(p, b);
    const double total = sample.valid ? walk_forward(p, b, sample) : 0.0;
    if (threadIdx.x != 0) continue;
    const auto value = static_cast<float>(-total / p.divisor(sample));
    loss[b] = !sample.valid ? nanf("") : total == kNever && p.zero_infinity ? 0.0F : value;
  }
}

__global__ void __launch_bounds__(kCtcThreads) ctc_trellis(Ctc p) {
  for (std::int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    Sample sample = read_sample(p, b);
    if (sample.valid) {
      sample.total = walk_forward(p, b, sample);
      walk_backward(p, b, sample);
      link_labels(p, b, sample);
    }
    if (threadIdx.x == 0) p.samples[b] = sample;
  }
}

/// d loss / d logp(t, c) = - the probability of being in a state of class c at t.
__device__ void store_gradient(const Ctc& p, std::int64_t b, std::int64_t t, float scale,
                               float* row) {
  const Sample& sample = p.samples[b];
  const double* states = p.alpha_row(b, t);
  const auto probability = [&](std::int64_t s) {
    return expf(static_cast<float>(states[s] - sample.total));
  };
  const std::int32_t lane = static_cast<std::int32_t>(threadIdx.x % kWarp);
  float blanks = 0;
  for (std::int32_t i = lane; i <= sample.labels; i += kWarp) blanks += probability(2 * i);
  blanks = warp_sum(blanks);
  if (lane == 0) row[p.blank] = -scale * blanks;
  const std::int32_t *labels = p.labels_of(b), *chain = p.chains + b * p.max_labels;
  for (std::int32_t i = lane; i < sample.labels; i += kWarp) {
    if (chain[i] < kFirst) continue;
    float sum = 0;
    std::int32_t at = i;
    do {
      sum += probability(2 * at + 1);
      at = chain[at] % kFirst;
    } while (at != 0);
    row[labels[i]] = -scale * sum;
  }
}

/// A warp for each step of each sample.
__global__ void __launch_bounds__(kCtcThreads) ctc_gradient(Ctc p, const float* dloss, float* dx) {
  const std::int64_t warps = blockDim.x / kWarp;
  const std::int64_t lane = threadIdx.x % kWarp;
  for (std::int64_t i = blockIdx.x * warps + threadIdx.x / kWarp; i < p.batch * p.steps;
       i += gridDim.x * warps) {
    const std::int64_t b = i / p.steps, t = i % p.steps;
    const Sample sample = p.samples[b];
    const bool never = sample.total == kNever;
    const bool undefined = !sample.valid || (never && !p.zero_infinity && t < sample.steps);
    float* row = dx + i * p.classes;
    for (std::int64_t c = lane; c < p.classes; c += kWarp) row[c] = undefined ? nanf("") : 0.0F;
    if (!sample.valid || never || t >= sample.steps) continue;
    __syncwarp();
    const double scale = static_cast<double>(dloss[b]) / p.divisor(sample);
    store_gradient(p, b, t, static_cast<float>(scale), row);
  }
}

/// Sizes and scratch of both kernels.
class CtcPlan {
 public:
  CtcPlan(const KernelSpec& spec, std::size_t mask, bool gradient) : mask_(mask) {
    plan_.batch = spec.inputs[0].shape[0];
    plan_.steps = spec.inputs[0].shape[1];
    plan_.classes = spec.inputs[0].shape[2];
    plan_.max_labels = spec.inputs[1].shape[1];
    plan_.alpha_rows = gradient ? std::max<std::int64_t>(2, plan_.steps) : 2;
    plan_.blank = static_cast<std::int32_t>(spec.attrs.integer("blank", 0));
    plan_.per_label = spec.attrs.integer("per_label", 1) != 0;
    plan_.zero_infinity = spec.attrs.integer("zero_infinity") != 0;
  }
  [[nodiscard]] std::int64_t scratch_bytes() const {
    return alpha_bytes() + beta_bytes() + samples_bytes() + 4 * plan_.batch * plan_.max_labels;
  }
  [[nodiscard]] Ctc bind(const KernelArgs& args) const {
    Ctc p = plan_;
    p.logp = args.inputs[0].as<const float>();
    p.labels = args.inputs[1].as<const std::int32_t>();
    if (args.inputs.size() > mask_) p.mask = args.inputs[mask_].as<const float>();
    p.alpha = reinterpret_cast<double*>(args.scratch);
    p.beta = reinterpret_cast<double*>(args.scratch + alpha_bytes());
    std::byte* samples = args.scratch + alpha_bytes() + beta_bytes();
    p.samples = reinterpret_cast<Sample*>(samples);
    p.chains = reinterpret_cast<std::int32_t*>(samples + samples_bytes());
    return p;
  }
  [[nodiscard]] Grid launch_grid() const {
    const std::int64_t threads =
        std::min<std::int64_t>(kCtcThreads, (states() + kWarp - 1) / kWarp * kWarp);
    return {.blocks = dim3(static_cast<unsigned>(std::min<std::int64_t>(plan_.batch, 1 << 20))),
            .threads = dim3(static_cast<unsigned>(threads))};
  }
  [[nodiscard]] Grid gradient_grid() const {
    constexpr std::int64_t kWarps = kCtcThreads / kWarp;
    const std::int64_t blocks = (plan_.batch * plan_.steps + kWarps - 1) / kWarps;
    return {.blocks = dim3(static_cast<unsigned>(std::min<std::int64_t>(blocks, 1 << 20))),
            .threads = dim3(kCtcThreads)};
  }
  [[nodiscard]] bool empty() const { return plan_.batch * plan_.steps * plan_.classes == 0; }

 private:
  [[nodiscard]] std::int64_t states() const { return 2 * plan_.max_labels + 1; }
  [[nodiscard]] std::int64_t alpha_bytes() const {
    return 8 * plan_.batch * plan_.alpha_rows * states();
  }
  [[nodiscard]] std::int64_t beta_bytes() const { return 16 * plan_.batch * states(); }
  [[nodiscard]] std::int64_t samples_bytes() const {
    return static_cast<std::int64_t>(sizeof(Sample)) * plan_.batch;
  }
  Ctc plan_;
  std::size_t mask_;
};

class CtcLoss final : public Kernel {
 public:
  explicit CtcLoss(const KernelSpec& spec) : plan_(spec, 2, false) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return plan_.scratch_bytes(); }
  void run(const KernelArgs& args) const override {
    if (args.outputs[0].numel() == 0) return;
    launch(ctc_loss, plan_.launch_grid(), stream_of(args), plan_.bind(args),
           args.outputs[0].as<float>());
  }

 private:
  CtcPlan plan_;
};

class CtcLossGrad final : public Kernel {
 public:
  explicit CtcLossGrad(const KernelSpec& spec) : plan_(spec, 3, true) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return plan_.scratch_bytes(); }
  void run(const KernelArgs& args) const override {
    if (plan_.empty()) return;
    const Ctc p = plan_.bind(args);
    launch(ctc_trellis, plan_.launch_grid(), stream_of(args), p);
    launch(ctc_gradient, plan_.gradient_grid(), stream_of(args), p,
           args.inputs[2].as<const float>(), args.outputs[0].as<float>());
  }

 private:
  CtcPlan plan_;
};

}  // namespace

std::unique_ptr<Kernel> make_ctc_loss(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<CtcLoss>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_ctc_loss_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<CtcLossGrad>(spec) : nullptr;
}

}  // namespace dlt::cuda

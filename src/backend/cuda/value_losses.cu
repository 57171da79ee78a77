// SPDX-License-Identifier: Apache-2.0
// Losses of values: one number a sample, the mean over the sizes behind the batch (kl_loss: the sum
// over the last of them).
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/elementary.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/rows.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

struct LossCall {
  float* out;
  const float* p;
  const float* t;
  const float* dloss;  // of a derivative
  std::int64_t rows, columns;
  float divisor;
  float p0, p1;  // as in tensor::KernelForm
  bool aligned;
};

// Probabilities are kept off 0 and 1; beyond the limits the derivative is zero.
constexpr float kLow = 1e-7f, kHigh = static_cast<float>(1.0 - 1e-7);

__device__ inline float smoothed(float t, float smoothing) {
  return fmaf(t, 1.0f - smoothing, 0.5f * smoothing);
}

/// A target of 0 stands for -1.
__device__ inline float sign_target(float t) { return t == 0.0f ? -1.0f : t; }

/// max(0, x), where NaN stays NaN.
__device__ inline float positive(float x) { return x < 0.0f ? 0.0f : x; }

__device__ inline float focal_weight(float t, float alpha) {
  return alpha * t + (1.0f - alpha) * (1.0f - t);
}
__device__ inline float focal_miss(float x, float t) {
  return sigmoid(-x) * t + sigmoid(x) * (1.0f - t);
}

/// A loss of one prediction and target, and its derivative by the prediction.
struct Mse {
  static __device__ float value(float p, float t, const LossCall&) { return (p - t) * (p - t); }
  static __device__ float slope(float p, float t, const LossCall&) { return 2.0f * (p - t); }
};

struct Mae {
  static __device__ float value(float p, float t, const LossCall&) { return fabsf(p - t); }
  static __device__ float slope(float p, float t, const LossCall&) {
    return p > t ? 1.0f : p < t ? -1.0f : 0.0f;
  }
};

struct Huber {
  static __device__ float value(float p, float t, const LossCall& c) {
    const float d = fabsf(p - t), delta = c.p0;
    return d <= delta ? 0.5f * d * d : delta * (d - 0.5f * delta);
  }
  static __device__ float slope(float p, float t, const LossCall& c) {
    const float d = p - t;
    return d > c.p0 ? c.p0 : d < -c.p0 ? -c.p0 : d;
  }
};

struct Bce {
  static __device__ float value(float p, float t, const LossCall& c) {
    const float target = smoothed(t, c.p0), q = p < kLow ? kLow : p > kHigh ? kHigh : p;
    return -fmaf(target, logf(q), (1.0f - target) * log1pf(-q));
  }
  static __device__ float slope(float p, float t, const LossCall& c) {
    if (p < kLow || p > kHigh) return 0.0f;
    return (p - smoothed(t, c.p0)) / (p * (1.0f - p));
  }
};

struct BceWithLogits {
  static __device__ float value(float p, float t, const LossCall& c) {
    return softplus(p) - smoothed(t, c.p0) * p;
  }
  static __device__ float slope(float p, float t, const LossCall& c) {
    return sigmoid(p) - smoothed(t, c.p0);
  }
};

struct LogCosh {
  static __device__ float value(float p, float t, const LossCall&) {
    const float d = fabsf(p - t), z = d * d;
    float near = fmaf(z, -17.0f / 2520.0f, 1.0f / 45.0f);  // a series where terms cancel
    near = fmaf(z, near, -1.0f / 12.0f);
    near = z * fmaf(z, near, 0.5f);
    return d < 0.3f ? near : d + log1pf(expf(d * -2.0f)) - 0.693147180559945309f;
  }
  static __device__ float slope(float p, float t, const LossCall&) { return tanhf(p - t); }
};

struct Hinge {
  static __device__ float value(float p, float t, const LossCall&) {
    return positive(1.0f - sign_target(t) * p);
  }
  static __device__ float slope(float p, float t, const LossCall&) {
    const float sign = sign_target(t);
    return sign * p < 1.0f ? -sign : 0.0f;
  }
};

struct SquaredHinge {
  static __device__ float value(float p, float t, const LossCall&) {
    const float gap = positive(1.0f - sign_target(t) * p);
    return gap * gap;
  }
  static __device__ float slope(float p, float t, const LossCall&) {
    const float sign = sign_target(t);
    return -2.0f * sign * positive(1.0f - sign * p);
  }
};

/// The prediction is the logarithm of a rate.
struct PoissonLog {
  static __device__ float value(float p, float t, const LossCall&) { return expf(p) - t * p; }
  static __device__ float slope(float p, float t, const LossCall&) { return expf(p) - t; }
};

struct PoissonRate {
  static __device__ float value(float p, float t, const LossCall&) {
    return p - t * logf(p + 1e-8f);
  }
  static __device__ float slope(float p, float t, const LossCall&) {
    return 1.0f - t / (p + 1e-8f);
  }
};

struct BinaryFocal {
  static __device__ float value(float x, float t, const LossCall& c) {
    return focal_weight(t, c.p0) * power(focal_miss(x, t), c.p1) * (softplus(x) - t * x);
  }
  static __device__ float slope(float x, float t, const LossCall& c) {
    const float p = sigmoid(x), miss = focal_miss(x, t), bce = softplus(x) - t * x;
    const float by_miss = miss > 0.0f ? -p * sigmoid(-x) * (2.0f * t - 1.0f) / miss : 0.0f;
    return focal_weight(t, c.p0) * power(miss, c.p1) * ((p - t) + bce * c.p1 * by_miss);
  }
};

struct Kl {
  static __device__ float value(float logp, float t, const LossCall&) {
    return t > 0.0f ? t * (logf(t) - logp) : 0.0f;
  }
  static __device__ float slope(float, float t, const LossCall&) { return -t; }
};

template <typename Loss, typename Team>
__global__ void loss_kernel(LossCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    float sum = 0.0f;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four p = load_four(c.p, row, g, c.aligned), t = load_four(c.t, row, g, c.aligned);
      const std::int64_t first = row.column(g);
      for (int u = 0; u < 4; ++u) {
        if (row.has(first + u)) sum += Loss::value(p.x[u], t.x[u], c);
      }
    }
    sum = Team::sum(sum);
    if (Team::rank() == 0) c.out[i] = sum / c.divisor;
  }
}

template <typename Loss, typename Team>
__global__ void loss_grad_kernel(LossCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    const float factor = c.dloss[i] / c.divisor;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four t = load_four(c.t, row, g, c.aligned);
      Four four = load_four(c.p, row, g, c.aligned);
      for (int u = 0; u < 4; ++u) four.x[u] = Loss::slope(four.x[u], t.x[u], c) * factor;
      store_four(c.out, four, row, g, c.aligned);
    }
  }
}

class Loss final : public tensor::Kernel {
 public:
  Loss(RowKernel<LossCall> kernel, const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : kernel_(kernel), form_(form), libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    LossCall call{.out = args.outputs[0].as<float>(),
                  .p = args.inputs[0].as<const float>(),
                  .t = args.inputs[1].as<const float>(),
                  .dloss = nullptr,
                  .rows = form_.rows,
                  .columns = form_.cols,
                  .divisor = static_cast<float>(form_.inner),
                  .p0 = form_.p0,
                  .p1 = form_.p1,
                  .aligned = is_aligned(args.inputs[0].data) && is_aligned(args.inputs[1].data)};
    if (args.inputs.size() > 2) {
      call.dloss = args.inputs[2].as<const float>();
      call.aligned = call.aligned && is_aligned(call.out);
    }
    launch_rows(kernel_, form_.rows, form_.cols, *libraries_, stream_of(args), call);
  }

 private:
  RowKernel<LossCall> kernel_;
  tensor::KernelForm form_;
  const DeviceLibraries* libraries_;
};

std::unique_ptr<tensor::Kernel> make_value_loss(RowKernel<LossCall> kernel, tensor::ReadForm read,
                                                const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!read(spec, form)) return nullptr;
  return std::make_unique<Loss>(kernel, form.numbers, libraries);
}

template <typename L>
constexpr RowKernel<LossCall> kValue{loss_kernel<L, Warp>, loss_kernel<L, Block>};
template <typename L>
constexpr RowKernel<LossCall> kSlope{loss_grad_kernel<L, Warp>, loss_grad_kernel<L, Block>};

bool takes_log(const tensor::KernelSpec& spec) { return spec.attrs.integer("log_input", 1) != 0; }

}  // namespace

#define DLT_LOSS(op, Struct, form)                                                     \
  std::unique_ptr<tensor::Kernel> make_##op(const tensor::KernelSpec& spec,            \
                                            const DeviceLibraries& libraries) {        \
    return make_value_loss(kValue<Struct>, tensor::forms::form, spec, libraries);      \
  }                                                                                    \
  std::unique_ptr<tensor::Kernel> make_##op##_grad(const tensor::KernelSpec& spec,     \
                                                   const DeviceLibraries& libraries) { \
    return make_value_loss(kSlope<Struct>, tensor::forms::form, spec, libraries);      \
  }
DLT_LOSS(bce_loss, Bce, sample_loss)
DLT_LOSS(bce_with_logits_loss, BceWithLogits, sample_loss)
DLT_LOSS(binary_focal_loss, BinaryFocal, focal_sample_loss)
DLT_LOSS(hinge_loss, Hinge, sample_loss)
DLT_LOSS(huber_loss, Huber, huber)
DLT_LOSS(kl_loss, Kl, row_loss)
DLT_LOSS(log_cosh_loss, LogCosh, sample_loss)
DLT_LOSS(mae_loss, Mae, sample_loss)
DLT_LOSS(mse_loss, Mse, sample_loss)
DLT_LOSS(squared_hinge_loss, SquaredHinge, sample_loss)
#undef DLT_LOSS

std::unique_ptr<tensor::Kernel> make_poisson_loss(const tensor::KernelSpec& spec,
                                                  const DeviceLibraries& libraries) {
  return make_value_loss(takes_log(spec) ? kValue<PoissonLog> : kValue<PoissonRate>,
                         tensor::forms::poisson, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_poisson_loss_grad(const tensor::KernelSpec& spec,
                                                       const DeviceLibraries& libraries) {
  return make_value_loss(takes_log(spec) ? kSlope<PoissonLog> : kSlope<PoissonRate>,
                         tensor::forms::poisson, spec, libraries);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Optimiser updates over flat buffers, one pass each. The formulas and their sources are in
// src/optim; scalars 0 to 4 of every update are those of optim/update_kernel.h: learning_rate,
// grad_scale, l2, l1, clip_value. An optimiser's own begin at 5. They become f32 as the CPU's do.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/update_gradient.h"
#include "base/error.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

constexpr int kMaxBuffers = 4;

struct UpdateCall {
  const float* grads;
  float* buffers[kMaxBuffers];  // params and the optimiser's states
  int num_buffers;
  int aligned;  // bool; without a hole behind it
  std::int64_t count;
  Scalars scalars;
};

// Each has kReads and kWrites, how many of the buffers it reads and writes at most, is made of the
// scalars, and apply(grad, x) updates one element: x[0] is the parameter, then the states.

/// states   square_avg, acc_delta
/// scalars  rho, eps
struct Adadelta {
  static constexpr int kReads = 3, kWrites = 3;
  Gradient gradient;
  float step, rho, rest, eps;
  __device__ explicit Adadelta(const double* s)
      : gradient(s), step(f32(-s[0])), rho(f32(s[5])), rest(f32(1.0 - s[5])), eps(f32(s[6])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = gradient(grad, p);
    const float v = fmaf(rho, x[1], rest * (g * g)), d = x[2];
    const float move = sqrtf(d + eps) / sqrtf(v + eps) * g;
    x[1] = v;
    x[2] = fmaf(rho, d, rest * (move * move));
    x[0] = fmaf(step, move, p);
  }
};

/// states   sum
/// scalars  eps, initial_accumulator_value, 1 + steps done * lr_decay
struct Adagrad {
  static constexpr int kReads = 2, kWrites = 2;
  Gradient gradient;
  float step, eps, initial;
  __device__ explicit Adagrad(const double* s)
      : gradient(s), step(f32(-s[0] / s[7])), eps(f32(s[5])), initial(f32(s[6])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = gradient(grad, p), sum = fmaf(g, g, x[1]);
    x[1] = sum;
    x[0] = fmaf(step, g / (sqrtf(sum + initial) + eps), p);
  }
};

/// states   m, v, then v_max if amsgrad
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta1^t, 1 - beta2^t
struct Adam {
  static constexpr int kReads = 4, kWrites = 4;
  Gradient gradient;
  float beta1, rest1, beta2, rest2, eps, keep, step, root;
  __device__ explicit Adam(const double* s)
      : gradient(s),
        beta1(f32(s[5])),
        rest1(f32(1.0 - s[5])),
        beta2(f32(s[6])),
        rest2(f32(1.0 - s[6])),
        eps(f32(s[7])),
        keep(f32(1.0 - s[0] * s[8])),
        step(f32(-s[0] / s[9])),
        root(f32(1.0 / sqrt(s[10]))) {}
  __device__ void apply(float grad, float* x, int num_buffers) const {
    const float p = x[0], g = gradient(grad, p);
    const float m = fmaf(beta1, x[1], rest1 * g);
    float v = fmaf(beta2, x[2], rest2 * (g * g));
    x[1] = m;
    x[2] = v;
    if (num_buffers > 3) x[3] = v = x[3] > v ? x[3] : v;
    x[0] = fmaf(step, m / fmaf(sqrtf(v), root, eps), keep * p);
  }
};

/// states   m, u
/// scalars  beta1, beta2, eps, 1 - beta1^t
struct Adamax {
  static constexpr int kReads = 3, kWrites = 3;
  Gradient gradient;
  float beta1, rest1, beta2, eps, step;
  __device__ explicit Adamax(const double* s)
      : gradient(s),
        beta1(f32(s[5])),
        rest1(f32(1.0 - s[5])),
        beta2(f32(s[6])),
        eps(f32(s[7])),
        step(f32(-s[0] / s[8])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = gradient(grad, p);
    const float m = fmaf(beta1, x[1], rest1 * g);
    const float old = beta2 * x[2], fresh = fabsf(g) + eps, u = old > fresh ? old : fresh;
    x[1] = m;
    x[2] = u;
    x[0] = fmaf(step, m / u, p);
  }
};

/// grads are params, buffer 0 is the average. scalars  weight
struct Average {
  static constexpr int kReads = 1, kWrites = 1;
  float weight;
  bool copy;
  __device__ explicit Average(const double* s) : weight(f32(s[0])), copy(s[0] == 1.0) {}
  __device__ void apply(float p, float* x, int) const {
    x[0] = copy ? p : fmaf(weight, p - x[0], x[0]);
  }
};

/// states   m, v (both read, as lamb_measure left them)
/// scalars  beta1, beta2 (not read), eps, weight decay, 1 - beta1^t, 1 - beta2^t, trust ratio
struct Lamb {
  static constexpr int kReads = 3, kWrites = 1;
  LambMove move;
  float step;
  __device__ explicit Lamb(const double* s) : move(s), step(f32(-s[0] * s[11])) {}
  __device__ void apply(float, float* x, int) const {
    x[0] = fmaf(step, move(x[0], x[1], x[2]), x[0]);
  }
};

/// states   momentum
/// scalars  momentum, weight decay, trust ratio
struct Lars {
  static constexpr int kReads = 2, kWrites = 2;
  Gradient gradient;
  float keep, decay, rate;
  __device__ explicit Lars(const double* s)
      : gradient(s), keep(f32(s[5])), decay(f32(s[6])), rate(f32(s[0] * s[7])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = fmaf(decay, p, gradient(grad, p));
    const float v = fmaf(keep, x[1], rate * g);
    x[1] = v;
    x[0] = p - v;
  }
};

/// states   m
/// scalars  beta1, beta2, decoupled weight decay
struct Lion {
  static constexpr int kReads = 2, kWrites = 2;
  Gradient gradient;
  float beta1, rest1, beta2, rest2, step, keep;
  __device__ explicit Lion(const double* s)
      : gradient(s),
        beta1(f32(s[5])),
        rest1(f32(1.0 - s[5])),
        beta2(f32(s[6])),
        rest2(f32(1.0 - s[6])),
        step(f32(-s[0])),
        keep(f32(1.0 - s[0] * s[7])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], m = x[1], g = gradient(grad, p);
    x[1] = fmaf(beta2, m, rest2 * g);
    x[0] = fmaf(step, sign_of(fmaf(beta1, m, rest1 * g)), keep * p);
  }
};

/// states   m, v
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta2^t, step size of the gradient, of m
struct Nadam {
  static constexpr int kReads = 3, kWrites = 3;
  Gradient gradient;
  float beta1, rest1, beta2, rest2, eps, keep, root, by_grad, by_m;
  __device__ explicit Nadam(const double* s)
      : gradient(s),
        beta1(f32(s[5])),
        rest1(f32(1.0 - s[5])),
        beta2(f32(s[6])),
        rest2(f32(1.0 - s[6])),
        eps(f32(s[7])),
        keep(f32(1.0 - s[0] * s[8])),
        root(f32(1.0 / sqrt(s[9]))),
        by_grad(f32(-s[10])),
        by_m(f32(-s[11])) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = gradient(grad, p);
    const float m = fmaf(beta1, x[1], rest1 * g);
    const float v = fmaf(beta2, x[2], rest2 * (g * g));
    x[1] = m;
    x[2] = v;
    x[0] = fmaf(keep, p, fmaf(by_m, m, by_grad * g) / fmaf(sqrtf(v), root, eps));
  }
};

/// states   square_avg, then momentum if it is not 0, then grad_avg if centered
/// scalars  alpha, eps, momentum, centered (0 or 1)
struct Rmsprop {
  static constexpr int kReads = 4, kWrites = 4;
  Gradient gradient;
  float step, alpha, rest, eps, keep;
  bool has_momentum, centered;
  __device__ explicit Rmsprop(const double* s)
      : gradient(s),
        step(f32(-s[0])),
        alpha(f32(s[5])),
        rest(f32(1.0 - s[5])),
        eps(f32(s[6])),
        keep(f32(s[7])),
        has_momentum(s[7] != 0.0),
        centered(s[8] != 0.0) {}
  __device__ void apply(float grad, float* x, int) const {
    const float p = x[0], g = gradient(grad, p);
    float v = fmaf(alpha, x[1], rest * (g * g));
    x[1] = v;
    if (centered) {
      float& mean = has_momentum ? x[3] : x[2];
      mean = fmaf(alpha, mean, rest * g);
      v = fmaf(-mean, mean, v);
      v = v < 0.0f ? 0.0f : v;  // rounding may leave it just below zero
    }
    float move = g / (sqrtf(v) + eps);
    if (has_momentum) x[2] = move = fmaf(keep, x[2], move);
    x[0] = fmaf(step, move, p);
  }
};

/// states   momentum if there is any
/// scalars  momentum, nesterov (0 or 1)
struct Sgd {
  static constexpr int kReads = 2, kWrites = 2;
  Gradient gradient;
  float step, keep;
  bool nesterov;
  __device__ explicit Sgd(const double* s)
      : gradient(s), step(f32(-s[0])), keep(f32(s[5])), nesterov(s[6] != 0.0) {}
  __device__ void apply(float grad, float* x, int num_buffers) const {
    const float p = x[0];
    float g = gradient(grad, p);
    if (num_buffers > 1) {
      const float m = fmaf(keep, x[1], g);
      x[1] = m;
      g = nesterov ? fmaf(keep, m, g) : m;
    }
    x[0] = fmaf(step, g, p);
  }
};

template <typename Update>
__global__ void __launch_bounds__(kThreads) update_kernel(UpdateCall c) {
  double scalars[Scalars::kMax];
  c.scalars.read(scalars);
  const Update update(scalars);
  const std::int64_t groups = (c.count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    const Four grads = load_four(c.grads, g, c.count, c.aligned);
    Four x[kMaxBuffers] = {};
    for (int k = 0; k < Update::kReads; ++k) {
      if (k < c.num_buffers) x[k] = load_four(c.buffers[k], g, c.count, c.aligned);
    }
    for (int u = 0; u < 4; ++u) {
      float one[kMaxBuffers];
      for (int k = 0; k < kMaxBuffers; ++k) one[k] = x[k].x[u];
      update.apply(grads.x[u], one, c.num_buffers);
      for (int k = 0; k < kMaxBuffers; ++k) x[k].x[u] = one[k];
    }
    for (int k = 0; k < Update::kWrites; ++k) {
      if (k < c.num_buffers) store_four(c.buffers[k], x[k], g, c.count, c.aligned);
    }
  }
}

class UpdateKernel final : public tensor::Kernel {
 public:
  UpdateKernel(void (*kernel)(UpdateCall), const DeviceLibraries& libraries)
      : kernel_(kernel), libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    DLT_CHECK(args.outputs.size() <= kMaxBuffers, "more states than expected");
    UpdateCall call{};
    call.grads = args.inputs[0].as<const float>();
    call.count = args.inputs[0].numel();
    if (call.count == 0) return;
    call.aligned = is_aligned(call.grads) ? 1 : 0;
    for (const tensor::View& view : args.outputs) {
      call.buffers[call.num_buffers++] = view.as<float>();
      call.aligned = call.aligned != 0 && is_aligned(view.data) ? 1 : 0;
    }
    call.scalars = Scalars(args.run);
    launch(kernel_, grid_of(num_groups(call.count), *libraries_), stream_of(args), call);
  }

 private:
  void (*kernel_)(UpdateCall);
  const DeviceLibraries* libraries_;
};

}  // namespace

#define DLT_UPDATE(op, Update)                                                  \
  std::unique_ptr<tensor::Kernel> make_##op(const tensor::KernelSpec& spec,     \
                                            const DeviceLibraries& libraries) { \
    if (!tensor::all_f32(spec)) return nullptr;                                 \
    return std::make_unique<UpdateKernel>(update_kernel<Update>, libraries);    \
  }
DLT_UPDATE(adadelta_update, Adadelta)
DLT_UPDATE(adagrad_update, Adagrad)
DLT_UPDATE(adam_update, Adam)
DLT_UPDATE(adamax_update, Adamax)
DLT_UPDATE(average_update, Average)
DLT_UPDATE(lamb_update, Lamb)
DLT_UPDATE(lars_update, Lars)
DLT_UPDATE(lion_update, Lion)
DLT_UPDATE(nadam_update, Nadam)
DLT_UPDATE(rmsprop_update, Rmsprop)
DLT_UPDATE(sgd_update, Sgd)
#undef DLT_UPDATE

}  // namespace dlt::cuda

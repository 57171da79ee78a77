// SPDX-License-Identifier: Apache-2.0
// Optimiser updates and sums over flat buffers, one pass each. The formulas and their sources are
// in src/optim; scalars 0 to 4 of every update are those of optim/update_kernel.h: learning_rate,
// grad_scale, l2, l1, clip_value. An optimiser's own begin at 5.
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// f(i, count) for each vector of n elements; count < kLanes only in the last.
template <typename F>
DLT_INLINE void each_vector(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

DLT_INLINE vf splat(double x) { return set1(static_cast<float>(x)); }

/// -1, 0 or 1; what is not a number gives 0.
DLT_INLINE vf sign(vf x) {
  const vf one = set1(1.0f);
  return select((x > vf{}) | (x < vf{}), copy_sign(one, x), vf{});
}

/// Calls f(gradient), where gradient(grad, p) is what the update works with:
/// clip(grad_scale·grad) + l2·p + l1·sign(p). Two copies of the loop, so that the usual one pays
/// for no more than the usual terms.
template <typename F>
DLT_INLINE void with_gradient(const Call& c, F f) {
  const double* s = c.scalars;
  const vf scale = splat(s[1]), l2 = splat(s[2]);
  if (s[3] == 0.0 && s[4] == __builtin_inf()) {
    f([=](vf grad, vf p) { return fma(grad, scale, l2 * p); });
    return;
  }
  const vf l1 = splat(s[3]), high = splat(s[4]), low = splat(-s[4]);
  // The gradient comes second, so that one that is not a number stays so.
  f([=](vf grad, vf p) { return fma(l1, sign(p), fma(l2, p, min(high, max(low, grad * scale)))); });
}

/// Sums of squares in f64: 16 interleaved sums whatever the vectors' size, so that the bits are the
/// same in every instruction set.
struct SquareSums {
  static constexpr std::int64_t kSums = 16, kWidth = kLanes / 2, kParts = kSums / kWidth;
  typedef double Doubles __attribute__((vector_size(kWidth * 8)));
  typedef float Floats __attribute__((vector_size(kWidth * 4)));
  Doubles sums[kParts] = {};

  /// Elements i, i + 1, ... of a range; i is a multiple of kLanes.
  DLT_INLINE_MEMBER void add(std::int64_t i, vf x) { add_at((i % kSums) / kWidth, x); }
  /// x has the elements of sums[part] and the next.
  DLT_INLINE_MEMBER void add_at(std::int64_t part, vf x) {
    Floats halves[2];
    __builtin_memcpy(halves, &x, sizeof halves);
    for (std::int64_t half = 0; half < 2; ++half) {
      const Doubles wide = __builtin_convertvector(halves[half], Doubles);
      sums[part + half] += wide * wide;
    }
  }
  DLT_INLINE_MEMBER double total() const {
    double lanes[kSums];
    __builtin_memcpy(lanes, sums, sizeof lanes);
    for (std::int64_t width = kSums / 2; width > 0; width /= 2) {
      for (std::int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    }
    return lanes[0];
  }
};

}  // namespace

/// inputs   grads            outputs  params, square_avg, acc_delta
/// scalars  rho, eps
void run_adadelta_update(const Call& c) {
  const double* s = c.scalars;
  const vf step = splat(-s[0]), rho = splat(s[5]), rest = splat(1.0 - s[5]), eps = splat(s[6]);
  const float* grads = c.x(0);
  float *params = c.y(0), *square = c.y(1), *delta = c.y(2);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf v = fma(rho, load_some(square + i, count), rest * (g * g));
      const vf d = load_some(delta + i, count);
      const vf move = sqrt(d + eps) / sqrt(v + eps) * g;
      store_some(square + i, v, count);
      store_some(delta + i, fma(rho, d, rest * (move * move)), count);
      store_some(params + i, fma(step, move, p), count);
    });
  });
}

/// inputs   grads            outputs  params, sum
/// scalars  eps, initial_accumulator_value, 1 + steps done * lr_decay
void run_adagrad_update(const Call& c) {
  const double* s = c.scalars;
  const vf step = splat(-s[0] / s[7]), eps = splat(s[5]), initial = splat(s[6]);
  const float* grads = c.x(0);
  float *params = c.y(0), *sums = c.y(1);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf sum = fma(g, g, load_some(sums + i, count));
      store_some(sums + i, sum, count);
      store_some(params + i, fma(step, g / (sqrt(sum + initial) + eps), p), count);
    });
  });
}

/// inputs   grads            outputs  params, m, v, then v_max if amsgrad
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta1^t, 1 - beta2^t
void run_adam_update(const Call& c) {
  const double* s = c.scalars;
  const vf beta1 = splat(s[5]), rest1 = splat(1.0 - s[5]);
  const vf beta2 = splat(s[6]), rest2 = splat(1.0 - s[6]);
  const vf eps = splat(s[7]), keep = splat(1.0 - s[0] * s[8]);
  const vf step = splat(-s[0] / s[9]), root = splat(1.0 / __builtin_sqrt(s[10]));
  const float* grads = c.x(0);
  float *params = c.y(0), *first = c.y(1), *second = c.y(2), *highest = c.y(3);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf m = fma(beta1, load_some(first + i, count), rest1 * g);
      vf v = fma(beta2, load_some(second + i, count), rest2 * (g * g));
      store_some(first + i, m, count);
      store_some(second + i, v, count);
      if (highest != nullptr) {
        v = max(load_some(highest + i, count), v);
        store_some(highest + i, v, count);
      }
      store_some(params + i, fma(step, m / fma(sqrt(v), root, eps), keep * p), count);
    });
  });
}

/// inputs   grads            outputs  params, m, u
/// scalars  beta1, beta2, eps, 1 - beta1^t
void run_adamax_update(const Call& c) {
  const double* s = c.scalars;
  const vf beta1 = splat(s[5]), rest1 = splat(1.0 - s[5]), beta2 = splat(s[6]);
  const vf eps = splat(s[7]), step = splat(-s[0] / s[8]);
  const float* grads = c.x(0);
  float *params = c.y(0), *first = c.y(1), *norms = c.y(2);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf m = fma(beta1, load_some(first + i, count), rest1 * g);
      const vf u = max(beta2 * load_some(norms + i, count), abs(g) + eps);
      store_some(first + i, m, count);
      store_some(norms + i, u, count);
      store_some(params + i, fma(step, m / u, p), count);
    });
  });
}

/// inputs   params           outputs  average += weight * (params - average)
/// scalars  weight
void run_average_update(const Call& c) {
  const vf weight = splat(c.scalars[0]);
  const bool copy = c.scalars[0] == 1.0;
  const float* params = c.x(0);
  float* average = c.y(0);
  each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
    const vf p = load_some(params + i, count), a = load_some(average + i, count);
    store_some(average + i, copy ? p : fma(weight, p - a, a), count);
  });
}

/// inputs   grads            outputs  params (read), m, v, f64 [2]: sums of squares of params and
/// of
///                                    the update
/// scalars  beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t
void run_lamb_measure(const Call& c) {
  const double* s = c.scalars;
  const vf beta1 = splat(s[5]), rest1 = splat(1.0 - s[5]);
  const vf beta2 = splat(s[6]), rest2 = splat(1.0 - s[6]);
  const vf eps = splat(s[7]), decay = splat(s[8]);
  const vf scale = splat(1.0 / s[9]), root = splat(1.0 / __builtin_sqrt(s[10]));
  const float* grads = c.x(0);
  const float* params = c.y(0);
  float *first = c.y(1), *second = c.y(2);
  SquareSums of_params, of_update;
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf m = fma(beta1, load_some(first + i, count), rest1 * g);
      const vf v = fma(beta2, load_some(second + i, count), rest2 * (g * g));
      store_some(first + i, m, count);
      store_some(second + i, v, count);
      of_params.add(i, p);
      of_update.add(i, fma(decay, p, scale * m / fma(sqrt(v), root, eps)));
    });
  });
  auto* sums = static_cast<double*>(c.out[3]);
  sums[0] = of_params.total();
  sums[1] = of_update.total();
}

/// inputs   grads (not read) outputs  params, m, v (both read, as lamb_measure left them)
/// scalars  beta1, beta2 (not read), eps, weight decay, 1 - beta1^t, 1 - beta2^t, trust ratio
void run_lamb_update(const Call& c) {
  const double* s = c.scalars;
  const vf eps = splat(s[7]), decay = splat(s[8]), step = splat(-s[0] * s[11]);
  const vf scale = splat(1.0 / s[9]), root = splat(1.0 / __builtin_sqrt(s[10]));
  float* params = c.y(0);
  const float *first = c.y(1), *second = c.y(2);
  each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
    const vf p = load_some(params + i, count);
    const vf m = load_some(first + i, count), v = load_some(second + i, count);
    const vf update = fma(decay, p, scale * m / fma(sqrt(v), root, eps));
    store_some(params + i, fma(step, update, p), count);
  });
}

/// inputs   grads            outputs  params (read), f64 [2]: sums of squares of params and
/// gradient
void run_lars_measure(const Call& c) {
  const float *grads = c.x(0), *params = c.y(0);
  SquareSums of_params, of_gradient;
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      of_params.add(i, p);
      of_gradient.add(i, gradient(load_some(grads + i, count), p));
    });
  });
  auto* sums = static_cast<double*>(c.out[1]);
  sums[0] = of_params.total();
  sums[1] = of_gradient.total();
}

/// inputs   grads            outputs  params, momentum
/// scalars  momentum, weight decay, trust ratio
void run_lars_update(const Call& c) {
  const double* s = c.scalars;
  const vf keep = splat(s[5]), decay = splat(s[6]), rate = splat(s[0] * s[7]);
  const float* grads = c.x(0);
  float *params = c.y(0), *buffer = c.y(1);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = fma(decay, p, gradient(load_some(grads + i, count), p));
      const vf v = fma(keep, load_some(buffer + i, count), rate * g);
      store_some(buffer + i, v, count);
      store_some(params + i, p - v, count);
    });
  });
}

/// inputs   grads            outputs  params, m
/// scalars  beta1, beta2, decoupled weight decay
void run_lion_update(const Call& c) {
  const double* s = c.scalars;
  const vf beta1 = splat(s[5]), rest1 = splat(1.0 - s[5]);
  const vf beta2 = splat(s[6]), rest2 = splat(1.0 - s[6]);
  const vf step = splat(-s[0]), keep = splat(1.0 - s[0] * s[7]);
  const float* grads = c.x(0);
  float *params = c.y(0), *first = c.y(1);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count), m = load_some(first + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      store_some(first + i, fma(beta2, m, rest2 * g), count);
      store_some(params + i, fma(step, sign(fma(beta1, m, rest1 * g)), keep * p), count);
    });
  });
}

/// inputs   grads            outputs  params, m, v
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta2^t, step size of the gradient, of m
void run_nadam_update(const Call& c) {
  const double* s = c.scalars;
  const vf beta1 = splat(s[5]), rest1 = splat(1.0 - s[5]);
  const vf beta2 = splat(s[6]), rest2 = splat(1.0 - s[6]);
  const vf eps = splat(s[7]), keep = splat(1.0 - s[0] * s[8]);
  const vf root = splat(1.0 / __builtin_sqrt(s[9])), by_grad = splat(-s[10]), by_m = splat(-s[11]);
  const float* grads = c.x(0);
  float *params = c.y(0), *first = c.y(1), *second = c.y(2);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      const vf m = fma(beta1, load_some(first + i, count), rest1 * g);
      const vf v = fma(beta2, load_some(second + i, count), rest2 * (g * g));
      store_some(first + i, m, count);
      store_some(second + i, v, count);
      const vf move = fma(by_m, m, by_grad * g) / fma(sqrt(v), root, eps);
      store_some(params + i, fma(keep, p, move), count);
    });
  });
}

/// inputs   grads            outputs  params, square_avg, then momentum if it is not 0, then
/// grad_avg
///                                    if centered
/// scalars  alpha, eps, momentum, centered (0 or 1)
void run_rmsprop_update(const Call& c) {
  const double* s = c.scalars;
  const vf step = splat(-s[0]), alpha = splat(s[5]), rest = splat(1.0 - s[5]);
  const vf eps = splat(s[6]), keep = splat(s[7]);
  const bool has_momentum = s[7] != 0.0, centered = s[8] != 0.0;
  const float* grads = c.x(0);
  float *params = c.y(0), *square = c.y(1);
  float* buffer = has_momentum ? c.y(2) : nullptr;
  float* mean = centered ? c.y(has_momentum ? 3 : 2) : nullptr;
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = gradient(load_some(grads + i, count), p);
      vf v = fma(alpha, load_some(square + i, count), rest * (g * g));
      store_some(square + i, v, count);
      if (mean != nullptr) {
        const vf m = fma(alpha, load_some(mean + i, count), rest * g);
        store_some(mean + i, m, count);
        v = max(vf{}, v - m * m);  // rounding may leave it just below zero
      }
      vf move = g / (sqrt(v) + eps);
      if (buffer != nullptr) {
        move = fma(keep, load_some(buffer + i, count), move);
        store_some(buffer + i, move, count);
      }
      store_some(params + i, fma(step, move, p), count);
    });
  });
}

/// inputs   grads            outputs  params, then momentum if there is any
/// scalars  momentum, nesterov (0 or 1)
void run_sgd_update(const Call& c) {
  const vf step = splat(-c.scalars[0]), keep = splat(c.scalars[5]);
  const bool nesterov = c.scalars[6] != 0.0;
  const float* grads = c.x(0);
  float *params = c.y(0), *buffer = c.y(1);
  with_gradient(c, [&](auto gradient) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      vf g = gradient(load_some(grads + i, count), p);
      if (buffer != nullptr) {
        const vf m = fma(keep, load_some(buffer + i, count), g);
        store_some(buffer + i, m, count);
        g = nesterov ? fma(keep, m, g) : m;
      }
      store_some(params + i, fma(step, g, p), count);
    });
  });
}

/// outputs  dst += inputs 0
void run_accumulate(const Call& c) {
  const float* src = c.x(0);
  float* dst = c.y(0);
  each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
    store_some(dst + i, load_some(dst + i, count) + load_some(src + i, count), count);
  });
}

/// outputs  f64 [1]
void run_sum_of_squares(const Call& c) {
  const float* x = c.x(0);
  const std::int64_t n = c.numel();
  SquareSums sums;
  std::int64_t i = 0;
  for (; i + SquareSums::kSums <= n; i += SquareSums::kSums) {
#pragma GCC unroll 4
    for (std::int64_t part = 0; part < SquareSums::kParts; part += 2) {
      sums.add_at(part, load(x + i + part * SquareSums::kWidth));
    }
  }
  each_vector(
      n - i, [&](std::int64_t j, std::int64_t count) { sums.add(j, load_some(x + i + j, count)); });
  *static_cast<double*>(c.out[0]) = sums.total();
}

}  // namespace dlt::cpu::DLT_ISA

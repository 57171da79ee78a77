// SPDX-License-Identifier: Apache-2.0
// Optimiser updates and sums over flat buffers, one pass each.
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

}  // namespace

/// inputs   grads            outputs  params, then momentum if there is any
/// scalars  learning_rate, grad_scale, momentum, nesterov (0 or 1), weight_decay
void run_sgd_update(const Call& c) {
  const float* grads = c.x(0);
  float *params = c.y(0), *buffer = c.y(1);
  const auto scalar = [&](int i) { return static_cast<float>(c.scalars[i]); };
  const vf step = set1(-scalar(0)), scale = set1(scalar(1)), keep = set1(scalar(2));
  const vf decay = set1(scalar(4));
  const bool nesterov = c.scalars[3] != 0.0;
  if (buffer == nullptr) {
    each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
      const vf p = load_some(params + i, count);
      const vf g = fma(load_some(grads + i, count), scale, decay * p);
      store_some(params + i, fma(step, g, p), count);
    });
    return;
  }
  each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
    const vf p = load_some(params + i, count);
    const vf g = fma(load_some(grads + i, count), scale, decay * p);
    const vf m = fma(keep, load_some(buffer + i, count), g);
    store_some(buffer + i, m, count);
    store_some(params + i, fma(step, nesterov ? fma(keep, m, g) : m, p), count);
  });
}

/// inputs   grads            outputs  params, m, v
/// scalars  learning_rate, grad_scale, beta1, beta2, eps, weight decay added to the gradient,
///          decoupled weight decay, 1 - beta1^t, 1 - beta2^t
void run_adam_update(const Call& c) {
  const double* s = c.scalars;
  const auto splat = [](double x) { return set1(static_cast<float>(x)); };
  const vf scale = splat(s[1]), beta1 = splat(s[2]), beta2 = splat(s[3]);
  const vf rest1 = splat(1.0 - s[2]), rest2 = splat(1.0 - s[3]);
  const vf eps = splat(s[4]), l2 = splat(s[5]), keep = splat(1.0 - s[0] * s[6]);
  const vf step = splat(-s[0] / s[7]), root = splat(1.0 / __builtin_sqrt(s[8]));
  const float* grads = c.x(0);
  float *params = c.y(0), *first = c.y(1), *second = c.y(2);
  each_vector(c.numel(), [&](std::int64_t i, std::int64_t count) {
    const vf p = load_some(params + i, count);
    const vf g = fma(load_some(grads + i, count), scale, l2 * p);
    const vf m = fma(beta1, load_some(first + i, count), rest1 * g);
    const vf v = fma(beta2, load_some(second + i, count), rest2 * (g * g));
    store_some(first + i, m, count);
    store_some(second + i, v, count);
    store_some(params + i, fma(step, m / fma(sqrt(v), root, eps), keep * p), count);
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

/// outputs  f64 [1]: the squares are summed in f64, 16 interleaved sums whatever the vectors' size.
void run_sum_of_squares(const Call& c) {
  constexpr std::int64_t kSums = 16, kWidth = kLanes / 2, kParts = kSums / kWidth;
  typedef double Doubles __attribute__((vector_size(kWidth * 8)));
  typedef float Floats __attribute__((vector_size(kWidth * 4)));
  const float* x = c.x(0);
  const std::int64_t n = c.numel();
  Doubles sums[kParts] = {};
  const auto add = [&](const float* values) {
#pragma GCC unroll 4
    for (std::int64_t part = 0; part < kParts; ++part) {
      Floats v;
      __builtin_memcpy(&v, values + part * kWidth, sizeof v);
      const Doubles wide = __builtin_convertvector(v, Doubles);
      sums[part] += wide * wide;
    }
  };
  std::int64_t i = 0;
  for (; i + kSums <= n; i += kSums) add(x + i);
  float rest[kSums] = {};
  for (std::int64_t j = i; j < n; ++j) rest[j - i] = x[j];
  add(rest);
  double lanes[kSums];
  __builtin_memcpy(lanes, sums, sizeof lanes);
  for (std::int64_t width = kSums / 2; width > 0; width /= 2) {
    for (std::int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  *static_cast<double*>(c.out[0]) = lanes[0];
}

}  // namespace dlt::cpu::DLT_ISA

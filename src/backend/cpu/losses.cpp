// SPDX-License-Identifier: Apache-2.0
// Losses of values: one number a sample, the mean over the sizes behind the batch.
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// f(prediction, target) of each element, averaged over a row.
template <typename F>
DLT_INLINE void loss_rows(const Call& c, F f) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float *p = c.x(0) + i * n, *t = c.x(1) + i * n;
    c.y(0)[i] = reduce_sum(n,
                           [&](std::int64_t j, std::int64_t count) {
                             return f(load_some(p + j, count), load_some(t + j, count));
                           }) /
                static_cast<float>(n);
  }
}

/// f is the derivative by the prediction of one element.
template <typename F>
DLT_INLINE void grad_rows(const Call& c, F f) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float *p = c.x(0) + i * n, *t = c.x(1) + i * n;
    float* dp = c.y(0) + i * n;
    const float factor = c.x(2)[i] / static_cast<float>(n);
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(dp + j, f(load_some(p + j, n - j), load_some(t + j, n - j)) * factor, n - j);
    }
  }
}

// Probabilities are kept off 0 and 1; beyond the limits the derivative is zero.
constexpr float kLow = 1e-7f, kHigh = static_cast<float>(1.0 - 1e-7);

DLT_INLINE vf smoothed(vf t, float smoothing) {
  return fma(t, set1(1.0f - smoothing), set1(0.5f * smoothing));
}

}  // namespace

void run_mse_loss(const Call& c) {
  loss_rows(c, [](vf p, vf t) { return (p - t) * (p - t); });
}
void run_mse_loss_grad(const Call& c) {
  grad_rows(c, [](vf p, vf t) { return 2.0f * (p - t); });
}

void run_mae_loss(const Call& c) {
  loss_rows(c, [](vf p, vf t) { return abs(p - t); });
}
void run_mae_loss_grad(const Call& c) {
  grad_rows(c,
            [](vf p, vf t) { return select(p > t, set1(1.0f), select(p < t, set1(-1.0f), vf{})); });
}

void run_huber_loss(const Call& c) {
  loss_rows(c, [delta = c.p0](vf p, vf t) {
    const vf d = abs(p - t);
    return select(d <= delta, 0.5f * d * d, delta * (d - 0.5f * delta));
  });
}
void run_huber_loss_grad(const Call& c) {
  grad_rows(c, [delta = c.p0](vf p, vf t) { return min(set1(delta), max(set1(-delta), p - t)); });
}

void run_bce_loss(const Call& c) {
  loss_rows(c, [smoothing = c.p0](vf p, vf t) {
    const vf target = smoothed(t, smoothing), q = min(set1(kHigh), max(set1(kLow), p));
    return -fma(target, log(q), (1.0f - target) * log1p(-q));
  });
}
void run_bce_loss_grad(const Call& c) {
  grad_rows(c, [smoothing = c.p0](vf p, vf t) {
    const vf slope = (p - smoothed(t, smoothing)) / (p * (1.0f - p));
    return select((p < kLow) | (p > kHigh), vf{}, slope);
  });
}

void run_bce_with_logits_loss(const Call& c) {
  loss_rows(c, [smoothing = c.p0](vf p, vf t) { return softplus(p) - smoothed(t, smoothing) * p; });
}
void run_bce_with_logits_loss_grad(const Call& c) {
  grad_rows(c, [smoothing = c.p0](vf p, vf t) { return sigmoid(p) - smoothed(t, smoothing); });
}

void run_sum_rows(const Call& c) {
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float* x = c.x(0) + i * c.cols;
    c.y(0)[i] = reduce_sum(
        c.cols, [&](std::int64_t j, std::int64_t count) { return load_some(x + j, count); });
  }
}

}  // namespace dlt::cpu::DLT_ISA

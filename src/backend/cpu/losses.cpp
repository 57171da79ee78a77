// SPDX-License-Identifier: Apache-2.0
// Losses of values: one number a sample, the mean over the sizes behind the batch (kl_loss: the sum
// over the last of them).
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
                static_cast<float>(c.inner);
  }
}

/// f is the derivative by the prediction of one element.
template <typename F>
DLT_INLINE void grad_rows(const Call& c, F f) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float *p = c.x(0) + i * n, *t = c.x(1) + i * n;
    float* dp = c.y(0) + i * n;
    const float factor = c.x(2)[i] / static_cast<float>(c.inner);
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

/// A target of 0 stands for -1.
DLT_INLINE vf sign_target(vf t) { return select(t == 0.0f, set1(-1.0f), t); }

DLT_INLINE vf focal_weight(vf t, float alpha) { return alpha * t + (1.0f - alpha) * (1.0f - t); }
DLT_INLINE vf focal_miss(vf x, vf t) { return sigmoid(-x) * t + sigmoid(x) * (1.0f - t); }

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

void run_log_cosh_loss(const Call& c) {
  loss_rows(c, [](vf p, vf t) {
    const vf d = abs(p - t), z = d * d;
    vf near = fma(z, set1(-17.0f / 2520.0f), set1(1.0f / 45.0f));  // a series where terms cancel
    near = fma(z, near, set1(-1.0f / 12.0f));
    near = z * fma(z, near, set1(0.5f));
    return select(d < 0.3f, near, d + log1p(exp(d * -2.0f)) - 0.693147180559945309f);
  });
}
void run_log_cosh_loss_grad(const Call& c) {
  grad_rows(c, [](vf p, vf t) { return tanh(p - t); });
}

void run_hinge_loss(const Call& c) {
  loss_rows(c, [](vf p, vf t) { return max(vf{}, 1.0f - sign_target(t) * p); });
}
void run_hinge_loss_grad(const Call& c) {
  grad_rows(c, [](vf p, vf t) {
    const vf sign = sign_target(t);
    return select(sign * p < 1.0f, -sign, vf{});
  });
}

void run_squared_hinge_loss(const Call& c) {
  loss_rows(c, [](vf p, vf t) {
    const vf gap = max(vf{}, 1.0f - sign_target(t) * p);
    return gap * gap;
  });
}
void run_squared_hinge_loss_grad(const Call& c) {
  grad_rows(c, [](vf p, vf t) {
    const vf sign = sign_target(t);
    return -2.0f * sign * max(vf{}, 1.0f - sign * p);
  });
}

void run_poisson_loss(const Call& c) {
  if (c.log_input) {
    loss_rows(c, [](vf p, vf t) { return exp(p) - t * p; });
  } else {
    loss_rows(c, [](vf p, vf t) { return p - t * log(p + 1e-8f); });
  }
}
void run_poisson_loss_grad(const Call& c) {
  if (c.log_input) {
    grad_rows(c, [](vf p, vf t) { return exp(p) - t; });
  } else {
    grad_rows(c, [](vf p, vf t) { return 1.0f - t / (p + 1e-8f); });
  }
}

void run_binary_focal_loss(const Call& c) {
  loss_rows(c, [alpha = c.p0, gamma = c.p1](vf x, vf t) {
    return focal_weight(t, alpha) * power(focal_miss(x, t), gamma) * (softplus(x) - t * x);
  });
}
void run_binary_focal_loss_grad(const Call& c) {
  grad_rows(c, [alpha = c.p0, gamma = c.p1](vf x, vf t) {
    const vf p = sigmoid(x), miss = focal_miss(x, t), bce = softplus(x) - t * x;
    const vf slope = -p * sigmoid(-x) * (2.0f * t - 1.0f) / miss;
    return focal_weight(t, alpha) * power(miss, gamma) *
           ((p - t) + bce * gamma * select(miss > 0.0f, slope, vf{}));
  });
}

void run_kl_loss(const Call& c) {
  loss_rows(c, [](vf logp, vf t) {
    const vi some = t > 0.0f;
    return select(some, t * (log(select(some, t, set1(1.0f))) - logp), vf{});
  });
}
void run_kl_loss_grad(const Call& c) {
  grad_rows(c, [](vf, vf t) { return -t; });
}

void run_sum_rows(const Call& c) {
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float* x = c.x(0) + i * c.cols;
    c.y(0)[i] = reduce_sum(
        c.cols, [&](std::int64_t j, std::int64_t count) { return load_some(x + j, count); });
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// nll and softmax_cross_entropy. Data loading checks that class numbers are in range; here one that
// is not makes the loss NaN and no target, and nothing is read out of bounds.
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// The smoothed target distribution of one row, q = keep · target + rest.
class Targets {
 public:
  Targets(const Call& c, std::int64_t row)
      : n_(c.cols), keep_(1.0f - c.p0), rest_(c.p0 / static_cast<float>(c.cols)) {
    if (c.labels == Labels::index) {
      label_ = static_cast<const std::int32_t*>(c.in[1])[row];
    } else {
      weights_ = c.x(1) + row * n_;
    }
  }
  [[nodiscard]] bool valid() const { return weights_ != nullptr || (label_ >= 0 && label_ < n_); }
  /// One class and no smoothing: q is 1 at label() and 0 elsewhere.
  [[nodiscard]] bool one_class() const { return weights_ == nullptr && rest_ == 0.0f; }
  [[nodiscard]] std::int64_t label() const { return label_; }
  /// q from element j on, the first `count` lanes.
  [[nodiscard]] DLT_INLINE_MEMBER vf q(std::int64_t j, std::int64_t count) const {
    if (weights_ != nullptr) return fma(load_some(weights_ + j, count), set1(keep_), set1(rest_));
    return select(lane_numbers() == set1i(static_cast<std::int32_t>(label_ - j)),
                  set1(keep_ + rest_), set1(rest_));
  }
  /// -sum(q · value(x)), where q = 0 counts for nothing.
  template <typename F>
  [[nodiscard]] DLT_INLINE_MEMBER float minus_sum(const float* x, F value) const {
    return -reduce_sum(n_, [&](std::int64_t j, std::int64_t count) {
      const vf weight = q(j, count);
      return select(weight == 0.0f, vf{}, weight * value(load_some(x + j, count)));
    });
  }
  [[nodiscard]] DLT_INLINE_MEMBER float sum_q() const {
    if (weights_ == nullptr) return 1.0f;
    return reduce_sum(n_, [&](std::int64_t j, std::int64_t count) { return q(j, count); });
  }

 private:
  std::int64_t n_, label_ = -1;
  float keep_, rest_;
  const float* weights_ = nullptr;
};

constexpr float kNan = __builtin_nanf("");

}  // namespace

void run_nll(const Call& c) {
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const Targets targets(c, i);
    const float* logp = c.x(0) + i * c.cols;
    float& loss = c.y(0)[i];
    if (!targets.valid()) {
      loss = kNan;
    } else if (targets.one_class()) {
      loss = -logp[targets.label()];
    } else {
      loss = targets.minus_sum(logp, [](vf x) { return x; });
    }
  }
}

void run_nll_grad(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const Targets targets(c, i);
    const float dloss = c.x(2)[i];
    float* dlogp = c.y(0) + i * n;
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(dlogp + j, -targets.q(j, n - j) * dloss, n - j);
    }
  }
}

/// lse = log(sum(exp(x))), loss = sum(q (lse - x))
void run_softmax_cross_entropy(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const Targets targets(c, i);
    const float* x = c.x(0) + i * n;
    const float shift = reduce_max(x, n);
    const float total = reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
      return exp(load_some(x + j, count) - shift);
    });
    const float log_total = log(set1(total))[0];
    float& loss = c.y(0)[i];
    c.y(1)[i] = shift + log_total;
    if (!targets.valid()) {
      loss = kNan;
    } else if (targets.one_class()) {
      loss = log_total - (x[targets.label()] - shift);
    } else {
      loss = targets.minus_sum(x, [&](vf v) { return (v - shift) - log_total; });
    }
  }
}

/// dx = (exp(x - lse) sum(q) - q) dloss; a target distribution need not sum to one.
void run_softmax_cross_entropy_grad(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const Targets targets(c, i);
    const float* x = c.x(0) + i * n;
    float* dx = c.y(0) + i * n;
    const float lse = c.x(2)[i], dloss = c.x(3)[i], total = targets.sum_q();
    for (std::int64_t j = 0; j < n; j += kLanes) {
      const vf p = exp(load_some(x + j, n - j) - lse) * total;
      store_some(dx + j, (p - targets.q(j, n - j)) * dloss, n - j);
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// nll and softmax_cross_entropy of predictions [B, ..., n]: `inner` rows a sample. Data loading
// checks that class numbers are in range; here one that is not makes the loss NaN and no target,
// and nothing is read out of bounds. A label equal to `ignored` does not count.
#include "backend/cpu/label_rows.h"
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// The target distribution of one row, q = weight (keep · target + rest).
class Targets {
 public:
  Targets(const Call& c, std::int64_t row)
      : n_(c.cols),
        keep_(1.0f - c.p0),
        rest_(c.p0 / static_cast<float>(c.cols)),
        class_weights_(c.table) {
    if (c.labels == Labels::index) {
      label_ = static_cast<const std::int32_t*>(c.in[1])[row];
    } else {
      distribution_ = c.x(1) + row * n_;
    }
  }
  [[nodiscard]] bool valid() const {
    return distribution_ != nullptr || (label_ >= 0 && label_ < n_);
  }
  /// One class and no smoothing: q is weight() at label() and 0 elsewhere.
  [[nodiscard]] bool one_class() const { return distribution_ == nullptr && rest_ == 0.0f; }
  [[nodiscard]] std::int64_t label() const { return label_; }
  [[nodiscard]] float weight() const {
    return class_weights_ == nullptr ? 1.0f : class_weights_[label_];
  }
  /// q from element j on, the first `count` lanes.
  [[nodiscard]] DLT_INLINE_MEMBER vf q(std::int64_t j, std::int64_t count) const {
    const vf plain = distribution_ != nullptr
                         ? fma(load_some(distribution_ + j, count), set1(keep_), set1(rest_))
                         : select(lane_numbers() == set1i(static_cast<std::int32_t>(label_ - j)),
                                  set1(keep_ + rest_), set1(rest_));
    return class_weights_ == nullptr ? plain : plain * load_some(class_weights_ + j, count);
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
    if (distribution_ == nullptr && class_weights_ == nullptr) return 1.0f;
    return reduce_sum(n_, [&](std::int64_t j, std::int64_t count) { return q(j, count); });
  }

 private:
  std::int64_t n_, label_ = -1;
  float keep_, rest_;
  const float* distribution_ = nullptr;
  const float* class_weights_;
};

float nll_of_row(const Call& c, std::int64_t row) {
  const Targets targets(c, row);
  const float* logp = c.x(0) + row * c.cols;
  if (!targets.valid()) return kNan;
  if (targets.one_class()) return -logp[targets.label()] * targets.weight();
  return targets.minus_sum(logp, [](vf x) { return x; });
}

/// lse = log(sum(exp(x))), loss = sum(q (lse - x))
float softmax_cross_entropy_of_row(const Call& c, std::int64_t row) {
  const Targets targets(c, row);
  const float* x = c.x(0) + row * c.cols;
  const LogSum sum(x, c.cols);
  c.y(1)[row] = sum.shift + sum.log_total;
  if (!targets.valid()) return kNan;
  if (targets.one_class()) {
    return (sum.log_total - (x[targets.label()] - sum.shift)) * targets.weight();
  }
  return targets.minus_sum(x, [&](vf v) { return (v - sum.shift) - sum.log_total; });
}

/// dx = (exp(x - lse) sum(q) - q) dloss; a target distribution need not sum to one.
void softmax_cross_entropy_grad_of_row(const Call& c, std::int64_t row, float dloss) {
  const std::int64_t n = c.cols;
  const Targets targets(c, row);
  const float* x = c.x(0) + row * n;
  float* dx = c.y(0) + row * n;
  const float lse = c.x(2)[row];
  if (targets.one_class() && targets.valid()) {
    const float factor = dloss * targets.weight(), at_label = x[targets.label()];
    map(x, dx, n, [&](vf v) { return exp(v - lse) * factor; });
    dx[targets.label()] = (exp(set1(at_label - lse))[0] - 1.0f) * factor;
    return;
  }
  const float total = targets.sum_q();
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const vf p = exp(load_some(x + j, n - j) - lse) * total;
    store_some(dx + j, (p - targets.q(j, n - j)) * dloss, n - j);
  }
}

}  // namespace

void run_nll(const Call& c) {
  label_losses(c, [&](std::int64_t row) { return nll_of_row(c, row); });
}

void run_nll_grad(const Call& c) {
  const std::int64_t n = c.cols;
  label_gradients(c, c.x(2), [&](std::int64_t row, float dloss) {
    const Targets targets(c, row);
    float* dlogp = c.y(0) + row * n;
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(dlogp + j, -targets.q(j, n - j) * dloss, n - j);
    }
  });
}

void run_softmax_cross_entropy(const Call& c) {
  for (std::int64_t row = 0; row < c.rows * c.inner; ++row) {
    if (!counts(c, row)) c.y(1)[row] = 0.0f;
  }
  label_losses(c, [&](std::int64_t row) { return softmax_cross_entropy_of_row(c, row); });
}

void run_softmax_cross_entropy_grad(const Call& c) {
  label_gradients(c, c.x(3), [&](std::int64_t row, float dloss) {
    softmax_cross_entropy_grad_of_row(c, row, dloss);
  });
}

}  // namespace dlt::cpu::DLT_ISA

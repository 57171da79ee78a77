// SPDX-License-Identifier: Apache-2.0
// layer_norm, rms_norm and their derivatives, row by row: a row stays in the innermost cache.
#include "backend/cpu/map.h"
#include "backend/cpu/norm.h"

namespace dlt::cpu::DLT_ISA {
namespace {

float inverse_root(float mean_square, float eps) {
  return 1.0f / __builtin_sqrtf(mean_square + eps);
}

struct Moments {
  float mean, inv_std;
  DLT_INLINE_MEMBER Moments(const float* x, const RowNormPlan& plan) {
    const auto n = static_cast<float>(plan.n);
    const auto plain = [x](std::int64_t j, std::int64_t count) { return load_some(x + j, count); };
    mean = reduce_sum(plan.n, plain) / n;
    const auto square = [x, this](std::int64_t j, std::int64_t count) {
      const vf d = load_some(x + j, count) - mean;
      return d * d;
    };
    inv_std = inverse_root(reduce_sum(plan.n, square) / n, plan.eps);
  }
};

DLT_INLINE void normalize_row(const float* x, const Moments& row, const float* gamma,
                              const float* beta, float* y, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const std::int64_t count = n - j;
    const vf normal = (load_some(x + j, count) - row.mean) * row.inv_std;
    store_some(y + j, fma(normal, load_some(gamma + j, count), load_some(beta + j, count)), count);
  }
}

/// Sums over rows of two arrays [n]: of 32 rows each in f32, these added with the error kept.
struct ParameterSums {
  static constexpr std::int64_t kRows = 32;
  std::int64_t n;
  float *block, *total, *error;  // of `arrays` · n
  std::int64_t size, rows = 0;
  DLT_INLINE_MEMBER ParameterSums(std::int64_t n_, std::int64_t arrays, float* scratch)
      : n(n_),
        block(scratch),
        total(scratch + arrays * n_),
        error(total + arrays * n_),
        size(arrays * n_) {
    for (std::int64_t j = 0; j < 3 * size; ++j) scratch[j] = 0;
  }
  DLT_INLINE_MEMBER void end_row() {
    if (++rows == kRows) flush();
  }
  DLT_INLINE_MEMBER void flush() {
    for (std::int64_t j = 0; j < size; ++j) {
      const float v = block[j], s = total[j], t = s + v, z = t - s;
      error[j] += (s - (t - z)) + (v - z);
      total[j] = t;
      block[j] = 0;
    }
    rows = 0;
  }
  DLT_INLINE_MEMBER void finish(float* out, std::int64_t array) const {
    for (std::int64_t j = 0; j < n; ++j) out[j] = total[array * n + j] + error[array * n + j];
  }
};

/// What both derivatives need of a row: sums of gamma dy and of gamma dy x̂.
template <bool kCentered>
struct RowGrad {
  const float *x, *dy, *gamma, *past;
  float mean, inv;

  DLT_INLINE_MEMBER vf normal(std::int64_t j, std::int64_t count) const {
    const vf v = load_some(x + j, count);
    return (kCentered ? v - mean : v) * inv;
  }
  DLT_INLINE_MEMBER void run(std::int64_t n, ParameterSums& sums, float* dx) const {
    const auto g = [this](std::int64_t j, std::int64_t count) {
      return load_some(gamma + j, count) * load_some(dy + j, count);
    };
    const auto length = static_cast<float>(n);
    const float shift = kCentered ? reduce_sum(n, g) / length : 0;
    const float slope =
        reduce_sum(
            n, [&](std::int64_t j, std::int64_t count) { return g(j, count) * normal(j, count); }) /
        length;
    for (std::int64_t j = 0; j < n; j += kLanes) {
      const std::int64_t count = n - j;
      const vf d = load_some(dy + j, count), hat = normal(j, count);
      float *dgamma = sums.block + j, *dbeta = dgamma + n;
      store_some(dgamma, fma(d, hat, load_some(dgamma, count)), count);
      if (kCentered) store_some(dbeta, load_some(dbeta, count) + d, count);
      const vf scaled = load_some(gamma + j, count) * d;
      const vf centred = kCentered ? scaled - shift : scaled;
      const vf inner = fma(-hat, set1(slope), centred);
      const vf result =
          past == nullptr ? inner * inv : fma(inner, set1(inv), load_some(past + j, count));
      store_some(dx + j, result, count);
    }
    sums.end_row();
  }
};

template <bool kCentered>
DLT_INLINE void row_grads(const RowNormPlan& plan, const Memory& m) {
  constexpr int kInv = kCentered ? 4 : 3;
  ParameterSums sums(plan.n, kCentered ? 2 : 1, m.scratch);
  const float* past = m.x(kInv + 1);
  for (std::int64_t i = 0; i < plan.rows; ++i) {
    const std::int64_t start = i * plan.n;
    const RowGrad<kCentered> row{m.x(0) + start,
                                 m.x(1) + start,
                                 m.x(2),
                                 past == nullptr ? nullptr : past + start,
                                 kCentered ? m.x(3)[i] : 0.0f,
                                 m.x(kInv)[i]};
    row.run(plan.n, sums, m.y(0) + start);
  }
  sums.flush();
  sums.finish(m.y(1), 0);
  if (kCentered) sums.finish(m.y(2), 1);
}

}  // namespace

void layer_norm(const RowNormPlan& plan, const Memory& m) {
  for (std::int64_t i = 0; i < plan.rows; ++i) {
    const float* x = m.x(0) + i * plan.n;
    const Moments row(x, plan);
    normalize_row(x, row, m.x(1), m.x(2), m.y(0) + i * plan.n, plan.n);
    m.y(1)[i] = row.mean;
    m.y(2)[i] = row.inv_std;
  }
}

void add_layer_norm(const RowNormPlan& plan, const Memory& m) {
  const std::int64_t n = plan.n;
  for (std::int64_t i = 0; i < plan.rows; ++i) {
    const float *a = m.x(0) + i * n, *b = m.x(1) + i * n;
    float* sum = m.y(0) + i * n;
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(sum + j, load_some(a + j, n - j) + load_some(b + j, n - j), n - j);
    }
    const Moments row(sum, plan);
    normalize_row(sum, row, m.x(2), m.x(3), m.y(1) + i * n, n);
    m.y(2)[i] = row.mean;
    m.y(3)[i] = row.inv_std;
  }
}

void layer_norm_grad(const RowNormPlan& plan, const Memory& m) { row_grads<true>(plan, m); }

void rms_norm(const RowNormPlan& plan, const Memory& m) {
  const std::int64_t n = plan.n;
  for (std::int64_t i = 0; i < plan.rows; ++i) {
    const float* x = m.x(0) + i * n;
    const auto square = [x](std::int64_t j, std::int64_t count) {
      const vf v = load_some(x + j, count);
      return v * v;
    };
    const float inv = inverse_root(reduce_sum(n, square) / static_cast<float>(n), plan.eps);
    for (std::int64_t j = 0; j < n; j += kLanes) {
      const vf normal = load_some(x + j, n - j) * inv;
      store_some(m.y(0) + i * n + j, normal * load_some(m.x(1) + j, n - j), n - j);
    }
    m.y(1)[i] = inv;
  }
}

void rms_norm_grad(const RowNormPlan& plan, const Memory& m) { row_grads<false>(plan, m); }

}  // namespace dlt::cpu::DLT_ISA

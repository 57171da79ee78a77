// SPDX-License-Identifier: Apache-2.0
// Forward and backward sums of ctc_loss. Log-probabilities are kept in double; what a sum adds to
// its largest term, at most log 3, is computed in float, so that it is good to 1e-7.
#include "backend/cpu/ctc.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// kLanes doubles, as two vectors: compilers take wider ones apart, element by element.
#ifdef __AVX512F__
typedef __m512d Half;
DLT_INLINE Half half_of(double x) { return _mm512_set1_pd(x); }
DLT_INLINE Half larger(Half a, Half b) { return _mm512_max_pd(a, b); }
DLT_INLINE Half load_half(const double* p) { return _mm512_loadu_pd(p); }
DLT_INLINE void store_half(double* p, Half x) { _mm512_storeu_pd(p, x); }
DLT_INLINE vf join(Half low, Half high) {
  const __m512 first = _mm512_castps256_ps512(_mm512_cvtpd_ps(low));
  return _mm512_insertf32x8(first, _mm512_cvtpd_ps(high), 1);
}
DLT_INLINE Half low_half(vf x) { return _mm512_cvtps_pd(lower(x)); }
DLT_INLINE Half high_half(vf x) { return _mm512_cvtps_pd(upper(x)); }
#else
typedef __m256d Half;
DLT_INLINE Half half_of(double x) { return _mm256_set1_pd(x); }
DLT_INLINE Half larger(Half a, Half b) { return _mm256_max_pd(a, b); }
DLT_INLINE Half load_half(const double* p) { return _mm256_loadu_pd(p); }
DLT_INLINE void store_half(double* p, Half x) { _mm256_storeu_pd(p, x); }
DLT_INLINE vf join(Half low, Half high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}
DLT_INLINE Half low_half(vf x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
DLT_INLINE Half high_half(vf x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
#endif

struct vd {
  Half low, high;
};
DLT_INLINE vd operator+(const vd& a, const vd& b) { return {a.low + b.low, a.high + b.high}; }
DLT_INLINE vd operator-(const vd& a, const vd& b) { return {a.low - b.low, a.high - b.high}; }
DLT_INLINE vd all_of(double x) { return {half_of(x), half_of(x)}; }
DLT_INLINE vd larger(const vd& a, const vd& b) {
  return {larger(a.low, b.low), larger(a.high, b.high)};
}
DLT_INLINE vd load_d(const double* p) { return {load_half(p), load_half(p + kLanes / 2)}; }
DLT_INLINE void store_d(double* p, const vd& x) {
  store_half(p, x.low);
  store_half(p + kLanes / 2, x.high);
}
DLT_INLINE vd to_double(vf x) { return {low_half(x), high_half(x)}; }
DLT_INLINE vf to_single(const vd& x) { return join(x.low, x.high); }

/// exp(x) for x <= 0, from -80 on: what is less adds nothing to 1, and numbers below the normal
/// ones are slow.
DLT_INLINE vf exp_of(const vd& x) { return exp(max(set1(-80.0f), to_single(x))); }

/// log(exp(a) + exp(b) + exp(c))
DLT_INLINE vd log_sum(const vd& a, const vd& b, const vd& c) {
  const vd high = larger(larger(a, b), c);
  const vf total = exp_of(a - high) + exp_of(b - high) + exp_of(c - high);
  return high + to_double(log(total));
}

double log_sum(double a, double b) {
  return log_sum(all_of(a), all_of(b), all_of(CtcTrellis::kNever)).low[0];
}

/// The log-probability of each state's class at step t; a probability of 0 is very small.
DLT_INLINE void emit(const CtcTrellis& c, std::int64_t t) {
  const float* row = c.logp + t * c.classes;
  for (std::int64_t s = 0; s < c.num_states; ++s) {
    const float p = row[c.states[s]];
    c.emitted[s] = p < -3e38f ? -3e38f : p;
  }
}

DLT_INLINE void fill_never(double* p, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = CtcTrellis::kNever;
}

}  // namespace

double ctc_forward(const CtcTrellis& c, std::int64_t num_rows) {
  const std::int64_t n = c.num_states, width = CtcTrellis::padded(n);
  constexpr std::int64_t kMargin = CtcTrellis::kMargin;
  emit(c, 0);
  fill_never(c.alpha, c.stride);
  for (std::int64_t s = 0; s < n && s < 2; ++s) {
    c.alpha[kMargin + s] = static_cast<double>(c.emitted[s]);
  }
  for (std::int64_t t = 1; t < c.steps; ++t) {
    emit(c, t);
    const double* from = c.alpha + (t - 1) % num_rows * c.stride + kMargin;
    double* to = c.alpha + t % num_rows * c.stride;
    fill_never(to, kMargin);
    to += kMargin;
    for (std::int64_t s = 0; s < width; s += kLanes) {
      const vd sum = log_sum(load_d(from + s), load_d(from + s - 1),
                             load_d(from + s - 2) + load_d(c.skip + s));
      store_d(to + s, sum + to_double(load(c.emitted + s)));
    }
    fill_never(to + n, width + kMargin - n);
  }
  const double* last = c.alpha + (c.steps - 1) % num_rows * c.stride + kMargin + n - 1;
  return n == 1 ? last[0] : log_sum(last[0], last[-1]);
}

void ctc_backward(const CtcTrellis& c, double total, float scale, float* gradient) {
  const std::int64_t n = c.num_states, width = CtcTrellis::padded(n);
  constexpr std::int64_t kMargin = CtcTrellis::kMargin;
  double* beta = c.beta + kMargin;             // ways on from a state, its step not counted
  double* next = c.beta + c.stride + kMargin;  // the same of the step behind, that step counted
  fill_never(c.beta, 2 * c.stride);
  beta[n - 1] = 0;
  if (n > 1) beta[n - 2] = 0;
  for (std::int64_t t = c.steps - 1; t >= 0; --t) {
    const double* alpha = c.alpha + t * c.stride + kMargin;
    if (t < c.steps - 1) {
      for (std::int64_t s = 0; s < width; s += kLanes) {
        const vd skip = load_d(next + s + 2) + load_d(c.skip + s + 2);
        store_d(beta + s, log_sum(load_d(next + s), load_d(next + s + 1), skip));
      }
    }
    emit(c, t);
    for (std::int64_t s = 0; s < n; ++s) next[s] = beta[s] + static_cast<double>(c.emitted[s]);
    float* row = gradient + t * c.classes;
    for (std::int64_t s = 0; s < width; s += kLanes) {
      const vf x = to_single(load_d(alpha + s) + load_d(beta + s) - all_of(total));
      const vf share = select(x < -80.0f, vf{}, exp(max(set1(-80.0f), x)) * scale);
      for (std::int64_t i = 0; i < kLanes && s + i < n; ++i) row[c.states[s + i]] -= share[i];
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

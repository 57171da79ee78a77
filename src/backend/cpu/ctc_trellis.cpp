// SPDX-License-Identifier: Apache-2.0
// Forward and backward sums of ctc_loss. Log-probabilities are kept in double; what a sum adds to
// its largest term, at most log 3, is computed in float, so that it is good to 1e-7.
#include "backend/cpu/ctc.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

typedef double vd __attribute__((vector_size(kLanes * 8)));
typedef double vd_any __attribute__((vector_size(kLanes * 8), aligned(8), may_alias));

DLT_INLINE vd load_d(const double* p) { return *reinterpret_cast<const vd_any*>(p); }
DLT_INLINE void store_d(double* p, vd x) { *reinterpret_cast<vd_any*>(p) = x; }
DLT_INLINE vd to_double(vf x) { return __builtin_convertvector(x, vd); }
DLT_INLINE vf to_single(vd x) { return __builtin_convertvector(x, vf); }
DLT_INLINE vd larger(vd a, vd b) { return a > b ? a : b; }

/// log(exp(a) + exp(b) + exp(c))
DLT_INLINE vd log_sum(vd a, vd b, vd c) {
  const vd high = larger(larger(a, b), c);
  const vf total = exp(to_single(a - high)) + exp(to_single(b - high)) + exp(to_single(c - high));
  return high + to_double(log(total));
}

double log_sum(double a, double b) {
  const vd never = vd{} + CtcTrellis::kNever;
  return log_sum(vd{} + a, vd{} + b, never)[0];
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
      const vf share = exp(to_single(load_d(alpha + s) + load_d(beta + s) - total)) * scale;
      for (std::int64_t i = 0; i < kLanes && s + i < n; ++i) row[c.states[s + i]] -= share[i];
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

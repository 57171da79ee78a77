// SPDX-License-Identifier: Apache-2.0
// batch_norm in pieces: the sums of a leaf, and what follows from the sums of all leaves. The
// formulas stand in ops/batch_moments.cpp.
#include "backend/cpu/columns.h"

namespace dlt::cpu::DLT_ISA {
namespace {

struct Moments {
  double n, shift, variance, inv_std;
};

DLT_INLINE Moments moments_of(const ColumnNormPlan& plan, const float* m, std::int64_t c) {
  const double n = static_cast<double>(m[2 * plan.channels]);
  const double shift = n > 0 ? static_cast<double>(m[c]) / n : 0;
  const double squares = n > 0 ? static_cast<double>(m[plan.channels + c]) / n : 0;
  const double v = squares - shift * shift;
  return {n, shift, v < 0 ? 0 : v, 1.0 / __builtin_sqrt((v < 0 ? 0 : v) + plan.eps)};
}

/// f(first sample, samples) for each run of samples that count.
template <typename F>
DLT_INLINE void each_counting_run(const ColumnNormPlan& plan, const float* weight, F f) {
  for (std::int64_t b = 0; b < plan.batch;) {
    std::int64_t end = b + 1;
    while (end < plan.batch && (weight[end] != 0) == (weight[b] != 0)) ++end;
    if (weight[b] != 0) f(b, end - b);
    b = end;
  }
}

}  // namespace

void batch_moments(const ColumnNormPlan& plan, const Memory& m) {
  const float *x = m.x(0), *weight = m.x(1), *shift = m.x(2);
  const std::int64_t size = plan.rows * plan.channels;
  const ColumnArrays a(plan, m.scratch);
  a.totals.clear();
  for (std::int64_t c = 0; c < plan.channels; ++c) a.mean[c] = shift[c];
  spread(plan, a.mean);
  std::int64_t count = 0;
  each_counting_run(plan, weight, [&](std::int64_t b, std::int64_t samples) {
    count += samples * plan.rows;
    add_moments(Run(plan, samples * plan.rows), x + b * size, a.mean, a.totals);
  });
  float* out = m.y(0);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    out[c] = static_cast<float>(a.totals.first_of(plan, c));
    out[plan.channels + c] = static_cast<float>(a.totals.second_of(plan, c));
  }
  out[2 * plan.channels] = static_cast<float>(count);
}

void batch_moments_grad(const ColumnNormPlan& plan, const Memory& m) {
  const float *x = m.x(0), *weight = m.x(1), *shift = m.x(2), *dm = m.x(3);
  const std::int64_t size = plan.rows * plan.channels;
  const ColumnArrays a(plan, m.scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    a.mean[c] = shift[c];
    a.scale[c] = 0;
    a.beta[c] = 0;
    a.offset[c] = dm[c];
    a.slope[c] = 2 * dm[plan.channels + c];
  }
  spread_all(plan, a.mean, a.scale, a.beta, a.offset, a.slope);
  __builtin_memset(m.y(0), 0, static_cast<std::size_t>(plan.batch * size) * 4);
  each_counting_run(plan, weight, [&](std::int64_t b, std::int64_t samples) {
    // dy times 0: x stands in for it.
    apply_grad<false>(Run(plan, samples * plan.rows), x + b * size, x + b * size, a,
                      m.y(0) + b * size);
  });
}

void batch_norm_moments(const ColumnNormPlan& plan, const Memory& m) {
  const ColumnArrays a(plan, m.scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const Moments k = moments_of(plan, m.x(3), c);
    a.mean[c] = static_cast<float>(static_cast<double>(m.x(4)[c]) + k.shift);
    a.scale[c] = static_cast<float>(static_cast<double>(m.x(1)[c]) * k.inv_std);
    a.beta[c] = m.x(2)[c];
  }
  spread_all(plan, a.mean, a.scale, a.beta);
  normalize<false>(Run(plan, plan.batch * plan.rows), m.x(0), a, m.y(0));
}

void batch_norm_moments_grad(const ColumnNormPlan& plan, const Memory& m) {
  const float *x = m.x(0), *dy = m.x(1), *gamma = m.x(2), *sums = m.x(3);
  float* dm = m.y(3);
  const ColumnArrays a(plan, m.scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const Moments k = moments_of(plan, sums, c);
    a.mean[c] = static_cast<float>(static_cast<double>(m.x(4)[c]) + k.shift);
    a.scale[c] = static_cast<float>(static_cast<double>(gamma[c]) * k.inv_std);
    a.beta[c] = a.offset[c] = a.slope[c] = 0;
  }
  spread_all(plan, a.mean, a.scale, a.beta, a.offset, a.slope);
  a.totals.clear();
  const Run run(plan, plan.batch * plan.rows);
  add_grad_sums<false>(run, x, dy, a);
  double dn = 0;
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const Moments k = moments_of(plan, sums, c);
    const double sum = a.totals.first_of(plan, c);
    const double product = a.totals.second_of(plan, c) * k.inv_std;
    const double scale = static_cast<double>(gamma[c]) * k.inv_std;
    m.y(1)[c] = static_cast<float>(product);
    m.y(2)[c] = static_cast<float>(sum);
    const double dv = k.variance > 0 ? -0.5 * scale * k.inv_std * product : 0.0;
    const double dshift = -scale * sum - 2 * dv * k.shift;
    dm[c] = static_cast<float>(k.n > 0 ? dshift / k.n : 0);
    dm[plan.channels + c] = static_cast<float>(k.n > 0 ? dv / k.n : 0);
    if (k.n > 0) {
      dn -= (dshift * static_cast<double>(sums[c]) +
             dv * static_cast<double>(sums[plan.channels + c])) /
            (k.n * k.n);
    }
  }
  dm[2 * plan.channels] = static_cast<float>(dn);
  apply_grad<false>(run, x, dy, a, m.y(0));
}

}  // namespace dlt::cpu::DLT_ISA

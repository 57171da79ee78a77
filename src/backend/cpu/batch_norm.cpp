// SPDX-License-Identifier: Apache-2.0
// batch_norm and group_norm. Variance comes from one pass over x, shifted by the mean of the first
// rows: as those are part of the data, the shift costs at most a factor of their share in accuracy,
// and sums beyond a block are exact.
#include "backend/cpu/columns.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// f(first sample, samples) for each run of samples that count; g likewise for the others.
template <typename F, typename G>
DLT_INLINE void each_run(const ColumnNormPlan& plan, const float* weight, F f, G g) {
  for (std::int64_t b = 0; b < plan.batch;) {
    std::int64_t end = b + 1;
    while (end < plan.batch && (weight[end] != 0) == (weight[b] != 0)) ++end;
    if (weight[b] != 0) {
      f(b, end - b);
    } else {
      g(b, end - b);
    }
    b = end;
  }
}

constexpr auto kNothing = [](std::int64_t, std::int64_t) {};

DLT_INLINE double count_elements(const ColumnNormPlan& plan, const float* weight) {
  std::int64_t samples = 0;
  for (std::int64_t b = 0; b < plan.batch; ++b) samples += weight[b] != 0 ? 1 : 0;
  return static_cast<double>(samples * plan.rows);
}

/// The mean of each channel over the first rows.
DLT_INLINE void first_means(const ColumnNormPlan& plan, const float* x, std::int64_t rows,
                            float* mean) {
  const std::int64_t count = rows < 32 ? rows : 32;
  for (std::int64_t c = 0; c < plan.channels; ++c) mean[c] = 0;
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < plan.channels; ++c) mean[c] += x[r * plan.channels + c];
  }
  for (std::int64_t c = 0; c < plan.channels; ++c) mean[c] /= static_cast<float>(count);
}

DLT_INLINE void zero(const ColumnNormPlan& plan, std::int64_t first, std::int64_t samples,
                     float* y) {
  const std::int64_t size = plan.rows * plan.channels;
  __builtin_memset(y + first * size, 0, static_cast<std::size_t>(samples * size) * 4);
}

/// What samples that do not count give: past, after relu.
template <bool kRelu>
DLT_INLINE void only_past(const ColumnNormPlan& plan, std::int64_t first, std::int64_t samples,
                          const float* past, float* y) {
  const std::int64_t size = plan.rows * plan.channels;
  map(past + first * size, y + first * size, samples * size, [](vf x) {
    const vf v = vf{} + x;
    return kRelu ? max(vf{}, v) : v;
  });
}

template <bool kRelu, bool kPast>
DLT_INLINE void batch_norm_as(const ColumnNormPlan& plan, const Memory& m) {
  const float *x = m.x(0), *gamma = m.x(1), *beta = m.x(2), *weight = m.x(3);
  float *mean = m.y(1), *inv_std = m.y(2), *variance = m.y(3);
  const std::int64_t size = plan.rows * plan.channels;
  const ColumnArrays a(plan, m.scratch);
  a.totals.clear();
  bool first = true;
  each_run(
      plan, weight,
      [&](std::int64_t b, std::int64_t samples) {
        if (first) {
          first_means(plan, x + b * size, samples * plan.rows, a.spare);
          spread(plan, a.spare);
        }
        first = false;
        add_moments(Run(plan, samples * plan.rows), x + b * size, a.spare, a.totals);
      },
      kNothing);
  const double n = count_elements(plan, weight);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const double shift = n > 0 ? a.totals.first_of(plan, c) / n : 0;
    const double squares = n > 0 ? a.totals.second_of(plan, c) / n : 0;
    const double v = squares - shift * shift;
    variance[c] = static_cast<float>(v < 0 ? 0 : v);
    mean[c] = n > 0 ? static_cast<float>(static_cast<double>(a.spare[c]) + shift) : 0;
    inv_std[c] = static_cast<float>(1.0 / __builtin_sqrt((v < 0 ? 0 : v) + plan.eps));
    a.mean[c] = mean[c];
    a.scale[c] = gamma[c] * inv_std[c];
    a.beta[c] = beta[c];
  }
  spread_all(plan, a.mean, a.scale, a.beta);
  each_run(
      plan, weight,
      [&](std::int64_t b, std::int64_t samples) {
        normalize<kRelu, kPast>(Run(plan, samples * plan.rows), x + b * size, a, m.y(0) + b * size,
                                kPast ? m.x(4) + b * size : nullptr);
      },
      [&](std::int64_t b, std::int64_t samples) {
        if (kPast) {
          only_past<kRelu>(plan, b, samples, m.x(4), m.y(0));
        } else {
          zero(plan, b, samples, m.y(0));
        }
      });
}

/// kPast: relu is told by the output, and dy behind it is the gradient of past, output 3.
template <bool kRelu, bool kPast>
DLT_INLINE void batch_norm_grad_as(const ColumnNormPlan& plan, const Memory& m) {
  const float *x = m.x(0), *dy = m.x(1), *gamma = m.x(2), *beta = m.x(3), *mean = m.x(4),
              *inv_std = m.x(5), *weight = m.x(6);
  const std::int64_t size = plan.rows * plan.channels;
  const ColumnArrays a(plan, m.scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    a.mean[c] = mean[c];
    a.scale[c] = gamma[c] * inv_std[c];
    a.beta[c] = beta[c];
  }
  spread_all(plan, a.mean, a.scale, a.beta);
  a.totals.clear();
  each_run(
      plan, weight,
      [&](std::int64_t b, std::int64_t samples) {
        const Run run(plan, samples * plan.rows);
        if (kPast) {
          add_cut_grad_sums(run, x + b * size, dy + b * size, m.x(7) + b * size, a,
                            m.y(3) + b * size);
        } else {
          add_grad_sums<kRelu>(run, x + b * size, dy + b * size, a);
        }
      },
      [&](std::int64_t b, std::int64_t samples) {
        if (!kPast) return;
        const float *y = m.x(7) + b * size, *from = dy + b * size;
        map2(y, from, m.y(3) + b * size, samples * size,
             [](vf v, vf d) { return select(v > 0.0f, d, vf{}); });
      });
  const double n = count_elements(plan, weight);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const double sum = a.totals.first_of(plan, c), product = a.totals.second_of(plan, c);
    const double inv = static_cast<double>(inv_std[c]), scale = static_cast<double>(gamma[c]) * inv;
    m.y(1)[c] = static_cast<float>(product * inv);
    m.y(2)[c] = static_cast<float>(sum);
    a.offset[c] = n > 0 ? static_cast<float>(-scale * sum / n) : 0;
    a.slope[c] = n > 0 ? static_cast<float>(-scale * inv * inv * product / n) : 0;
  }
  spread_all(plan, a.offset, a.slope);
  each_run(
      plan, weight,
      [&](std::int64_t b, std::int64_t samples) {
        const float* passed = kPast ? m.y(3) : dy;
        apply_grad<kRelu && !kPast>(Run(plan, samples * plan.rows), x + b * size, passed + b * size,
                                    a, m.y(0) + b * size);
      },
      [&](std::int64_t b, std::int64_t samples) { zero(plan, b, samples, m.y(0)); });
}

/// A number of each group at all its channels.
DLT_INLINE std::int64_t group_of(const ColumnNormPlan& plan, std::int64_t c) {
  return c / (plan.channels / plan.groups);
}

}  // namespace

void batch_norm(const ColumnNormPlan& plan, const Memory& m) {
  if (plan.past) {
    plan.relu ? batch_norm_as<true, true>(plan, m) : batch_norm_as<false, true>(plan, m);
  } else {
    plan.relu ? batch_norm_as<true, false>(plan, m) : batch_norm_as<false, false>(plan, m);
  }
}

void batch_norm_grad(const ColumnNormPlan& plan, const Memory& m) {
  if (plan.past) {
    batch_norm_grad_as<true, true>(plan, m);
  } else {
    plan.relu ? batch_norm_grad_as<true, false>(plan, m)
              : batch_norm_grad_as<false, false>(plan, m);
  }
}

void batch_norm_inference(const ColumnNormPlan& plan, const Memory& m) {
  const ColumnArrays a(plan, m.scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const double variance = static_cast<double>(m.x(4)[c]) + plan.eps;
    a.mean[c] = m.x(3)[c];
    a.scale[c] = static_cast<float>(static_cast<double>(m.x(1)[c]) / __builtin_sqrt(variance));
    a.beta[c] = m.x(2)[c];
  }
  spread_all(plan, a.mean, a.scale, a.beta);
  const Run run(plan, plan.batch * plan.rows);
  if (plan.past) {
    plan.relu ? normalize<true, true>(run, m.x(0), a, m.y(0), m.x(5))
              : normalize<false, true>(run, m.x(0), a, m.y(0), m.x(5));
  } else {
    plan.relu ? normalize<true>(run, m.x(0), a, m.y(0)) : normalize<false>(run, m.x(0), a, m.y(0));
  }
}

void batch_norm_statistics(const ColumnNormPlan& plan, const Memory& m) {
  double weight = 0;
  for (std::int64_t b = 0; b < plan.batch; ++b) weight += static_cast<double>(m.x(2)[b]);
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const double shift = static_cast<double>(m.x(0)[c]) - static_cast<double>(m.x(3)[c]);
    m.y(0)[c] = static_cast<float>(weight * shift);
    m.y(1)[c] = static_cast<float>(weight * (static_cast<double>(m.x(1)[c]) + shift * shift));
  }
}

void group_norm(const ColumnNormPlan& plan, const Memory& m) {
  const std::int64_t size = plan.rows * plan.channels, width = plan.channels / plan.groups;
  const ColumnArrays a(plan, m.scratch);
  const double n = static_cast<double>(plan.rows * width);
  const Run run(plan, plan.rows);
  for (std::int64_t c = 0; c < plan.channels; ++c) a.beta[c] = m.x(2)[c];
  spread(plan, a.beta);
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    const float* x = m.x(0) + b * size;
    first_means(plan, x, plan.rows, a.spare);
    for (std::int64_t g = 0; g < plan.groups; ++g) {
      float sum = 0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) sum += a.spare[c];
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        a.spare[c] = sum / static_cast<float>(width);
      }
    }
    spread(plan, a.spare);
    a.totals.clear();
    add_moments(run, x, a.spare, a.totals);
    for (std::int64_t g = 0; g < plan.groups; ++g) {
      double sum = 0, squares = 0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        sum += a.totals.first_of(plan, c);
        squares += a.totals.second_of(plan, c);
      }
      const double shift = sum / n, v = squares / n - shift * shift;
      const double mean = static_cast<double>(a.spare[g * width]) + shift;
      m.y(1)[b * plan.groups + g] = static_cast<float>(mean);
      m.y(2)[b * plan.groups + g] =
          static_cast<float>(1.0 / __builtin_sqrt((v < 0 ? 0 : v) + plan.eps));
    }
    for (std::int64_t c = 0; c < plan.channels; ++c) {
      const std::int64_t group = b * plan.groups + group_of(plan, c);
      a.mean[c] = m.y(1)[group];
      a.scale[c] = m.x(1)[c] * m.y(2)[group];
    }
    spread_all(plan, a.mean, a.scale);
    normalize<false>(run, x, a, m.y(0) + b * size);
  }
}

void group_norm_grad(const ColumnNormPlan& plan, const Memory& m) {
  const std::int64_t size = plan.rows * plan.channels, width = plan.channels / plan.groups;
  const float* gamma = m.x(2);
  const ColumnArrays a(plan, m.scratch);
  double* dgamma = reinterpret_cast<double*>(m.scratch + kColumnArrays * column_pitch(plan));
  double* dbeta = dgamma + plan.channels;
  const double n = static_cast<double>(plan.rows * width);
  const Run run(plan, plan.rows);
  for (std::int64_t c = 0; c < 2 * plan.channels; ++c) dgamma[c] = 0;
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    const float *mean = m.x(3) + b * plan.groups, *inv_std = m.x(4) + b * plan.groups;
    for (std::int64_t c = 0; c < plan.channels; ++c) {
      a.mean[c] = mean[group_of(plan, c)];
      a.scale[c] = gamma[c] * inv_std[group_of(plan, c)];
      a.beta[c] = 0;
    }
    spread_all(plan, a.mean, a.scale, a.beta);
    a.totals.clear();
    add_grad_sums<false>(run, m.x(0) + b * size, m.x(1) + b * size, a);
    for (std::int64_t g = 0; g < plan.groups; ++g) {
      const double inv = static_cast<double>(inv_std[g]);
      double sum = 0, product = 0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        const double first = a.totals.first_of(plan, c), second = a.totals.second_of(plan, c);
        dgamma[c] += second * inv;
        dbeta[c] += first;
        sum += static_cast<double>(gamma[c]) * first;
        product += static_cast<double>(gamma[c]) * second;
      }
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        a.offset[c] = static_cast<float>(-inv * sum / n);
        a.slope[c] = static_cast<float>(-inv * inv * inv * product / n);
      }
    }
    spread_all(plan, a.offset, a.slope);
    apply_grad<false>(run, m.x(0) + b * size, m.x(1) + b * size, a, m.y(0) + b * size);
  }
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    m.y(1)[c] = static_cast<float>(dgamma[c]);
    m.y(2)[c] = static_cast<float>(dbeta[c]);
  }
}

}  // namespace dlt::cpu::DLT_ISA

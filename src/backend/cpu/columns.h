// SPDX-License-Identifier: Apache-2.0
// Passes over a matrix [rows, channels] with numbers of their own for each channel: sums down the
// columns and maps. Rows of few channels are taken `fold` at a time as one row of fold·channels, so
// the arrays of numbers hold `fold` copies.
#pragma once

#include "backend/cpu/groups.h"
#include "backend/cpu/map.h"
#include "backend/cpu/norm.h"

namespace dlt::cpu::DLT_ISA {

/// Rows of a run of samples: `wide` of `fold` rows each, then `left` single ones. Wide rows go in
/// blocks that the innermost cache holds.
struct Run {
  std::int64_t wide, left, width, channels;
  Run(const ColumnNormPlan& plan, std::int64_t rows)
      : wide(rows / plan.fold),
        left(rows % plan.fold),
        width(plan.fold * plan.channels),
        channels(plan.channels) {}
  /// f(first element, rows, columns), block by block.
  template <typename F>
  DLT_INLINE_MEMBER void forward(F f) const {
    const std::int64_t step = block_rows();
    for (std::int64_t row = 0; row < wide; row += step) {
      f(row * width, wide - row < step ? wide - row : step, width);
    }
    if (left > 0) f(wide * width, left, channels);
  }
  /// From the end, where a pass before has left the caches.
  template <typename F>
  DLT_INLINE_MEMBER void backward(F f) const {
    if (left > 0) f(wide * width, left, channels);
    const std::int64_t step = block_rows();
    for (std::int64_t row = (wide - 1) / step * step; row >= 0 && wide > 0; row -= step) {
      f(row * width, wide - row < step ? wide - row : step, width);
    }
  }

 private:
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t block_rows() const {
    constexpr std::int64_t kBlockFloats = 4096;
    return width < kBlockFloats ? kBlockFloats / width : 1;
  }
};

/// Two sums a column, each with the rounding error of its additions.
struct Totals {
  float *first, *first_error, *second, *second_error;
  std::int64_t pitch;
  DLT_INLINE_MEMBER void clear() const {
    for (std::int64_t i = 0; i < 4 * pitch; ++i) first[i] = 0;
  }
  /// The sums of a channel over its copies.
  DLT_INLINE_MEMBER double first_of(const ColumnNormPlan& plan, std::int64_t c) const {
    return total(first, plan, c);
  }
  DLT_INLINE_MEMBER double second_of(const ColumnNormPlan& plan, std::int64_t c) const {
    return total(second, plan, c);
  }

 private:
  DLT_INLINE_MEMBER double total(const float* sums, const ColumnNormPlan& plan,
                                 std::int64_t c) const {
    double sum = 0;
    for (std::int64_t i = c; i < plan.fold * plan.channels; i += plan.channels) {
      sum += static_cast<double>(sums[i]) + static_cast<double>(sums[i + pitch]);
    }
    return sum;
  }
};

/// sum + v with the error of the addition gathered. source  Knuth, TAOCP 2, 4.2.2, theorem B
template <typename G>
DLT_INLINE void add_exactly(const G& group, float* sum, float* error, vf v) {
  const vf s = group.load(sum), t = s + v, z = t - s;
  group.store(sum, t);
  group.store(error, group.load(error) + ((s - (t - z)) + (v - z)));
}

/// The numbers of each column, fold copies each.
struct ColumnArrays {
  float *mean, *scale, *beta, *offset, *slope, *spare;
  Totals totals;
  DLT_INLINE_MEMBER explicit ColumnArrays(const ColumnNormPlan& plan, float* scratch) {
    const std::int64_t pitch = column_pitch(plan);
    mean = scratch;
    scale = mean + pitch;
    beta = scale + pitch;
    offset = beta + pitch;
    slope = offset + pitch;
    spare = slope + pitch;
    totals = {spare + pitch, spare + 2 * pitch, spare + 3 * pitch, spare + 4 * pitch, pitch};
  }
};

/// Makes the copies of the first `channels` numbers.
DLT_INLINE void spread(const ColumnNormPlan& plan, float* array) {
  for (std::int64_t i = plan.channels; i < plan.fold * plan.channels; ++i) {
    array[i] = array[i - plan.channels];
  }
}

template <typename... Arrays>
DLT_INLINE void spread_all(const ColumnNormPlan& plan, Arrays... arrays) {
  (spread(plan, arrays), ...);
}

/// Adds the sums of x - mean and of its square.
DLT_INLINE void add_moments(const Run& run, const float* x, const float* mean, const Totals& t) {
  run.forward([&](std::int64_t start, std::int64_t rows, std::int64_t columns) {
    each_group(columns, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf m[kWidth], first[kWidth] = {}, second[kWidth] = {};
      group.load_all(mean, m);
      const float* p = x + start + group.column;
      for (std::int64_t r = 0; r < rows; ++r, p += columns) {
        for (int g = 0; g < kWidth; ++g) {
          const vf d = group.load(p + g * kLanes) - m[g];
          first[g] += d;
          second[g] = fma(d, d, second[g]);
        }
      }
      for (int g = 0; g < kWidth; ++g) {
        const std::int64_t i = group.column + g * kLanes;
        add_exactly(group, t.first + i, t.first_error + i, first[g]);
        add_exactly(group, t.second + i, t.second_error + i, second[g]);
      }
    });
  });
}

/// (x - mean) scale + beta, then + past, then relu
template <bool kRelu, bool kPast = false>
DLT_INLINE void normalize(const Run& run, const float* x, const ColumnArrays& a, float* y,
                          const float* past = nullptr) {
  run.backward([&](std::int64_t start, std::int64_t rows, std::int64_t columns) {
    each_group(columns, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf mean[kWidth], scale[kWidth], beta[kWidth];
      group.load_all(a.mean, mean);
      group.load_all(a.scale, scale);
      group.load_all(a.beta, beta);
      const float* p = x + start + group.column;
      float* q = y + start + group.column;
      const float* other = kPast ? past + start + group.column : nullptr;
      for (std::int64_t r = 0; r < rows; ++r, p += columns, q += columns) {
        for (int g = 0; g < kWidth; ++g) {
          vf v = fma(group.load(p + g * kLanes) - mean[g], scale[g], beta[g]);
          if (kPast) v += group.load(other + r * columns + g * kLanes);
          group.store(q + g * kLanes, kRelu ? max(vf{}, v) : v);
        }
      }
    });
  });
}

/// dy where relu let the output through: where (x - mean) scale + beta is not 0 or less, computed
/// as in the forward pass.
template <bool kRelu>
DLT_INLINE vf passed(vf dy, vf centred, vf scale, vf beta) {
  return kRelu ? select(fma(centred, scale, beta) <= vf{}, vf{}, dy) : dy;
}

/// Adds the sums of dy and of dy (x - mean).
template <bool kRelu>
DLT_INLINE void add_grad_sums(const Run& run, const float* x, const float* dy,
                              const ColumnArrays& a) {
  const Totals& t = a.totals;
  run.forward([&](std::int64_t start, std::int64_t rows, std::int64_t columns) {
    each_group(columns, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf mean[kWidth], scale[kWidth], beta[kWidth], first[kWidth] = {}, second[kWidth] = {};
      group.load_all(a.mean, mean);
      group.load_all(a.scale, scale);
      group.load_all(a.beta, beta);
      const float *p = x + start + group.column, *q = dy + start + group.column;
      for (std::int64_t r = 0; r < rows; ++r, p += columns, q += columns) {
        for (int g = 0; g < kWidth; ++g) {
          const vf centred = group.load(p + g * kLanes) - mean[g];
          const vf d = passed<kRelu>(group.load(q + g * kLanes), centred, scale[g], beta[g]);
          first[g] += d;
          second[g] = fma(d, centred, second[g]);
        }
      }
      for (int g = 0; g < kWidth; ++g) {
        const std::int64_t i = group.column + g * kLanes;
        add_exactly(group, t.first + i, t.first_error + i, first[g]);
        add_exactly(group, t.second + i, t.second_error + i, second[g]);
      }
    });
  });
}

/// The same for dy where the output y is above 0, which is written to `cut` block by block in front
/// of the sums; cut may be y or dy.
DLT_INLINE void add_cut_grad_sums(const Run& run, const float* x, const float* dy, const float* y,
                                  const ColumnArrays& a, float* cut) {
  const Totals& t = a.totals;
  run.forward([&](std::int64_t start, std::int64_t rows, std::int64_t columns) {
    map2(y + start, dy + start, cut + start, rows * columns,
         [](vf v, vf d) { return select(v > 0.0f, d, vf{}); });
    each_group(columns, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf mean[kWidth], first[kWidth] = {}, second[kWidth] = {};
      group.load_all(a.mean, mean);
      const float *p = x + start + group.column, *q = cut + start + group.column;
      for (std::int64_t r = 0; r < rows; ++r, p += columns, q += columns) {
        for (int g = 0; g < kWidth; ++g) {
          const vf centred = group.load(p + g * kLanes) - mean[g];
          const vf d = group.load(q + g * kLanes);
          first[g] += d;
          second[g] = fma(d, centred, second[g]);
        }
      }
      for (int g = 0; g < kWidth; ++g) {
        const std::int64_t i = group.column + g * kLanes;
        add_exactly(group, t.first + i, t.first_error + i, first[g]);
        add_exactly(group, t.second + i, t.second_error + i, second[g]);
      }
    });
  });
}

/// dx = scale dy + (x - mean) slope + offset; dx may be x.
template <bool kRelu>
DLT_INLINE void apply_grad(const Run& run, const float* x, const float* dy, const ColumnArrays& a,
                           float* dx) {
  run.backward([&](std::int64_t start, std::int64_t rows, std::int64_t columns) {
    each_group(columns, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf mean[kWidth], scale[kWidth], beta[kWidth], offset[kWidth], slope[kWidth];
      group.load_all(a.mean, mean);
      group.load_all(a.scale, scale);
      group.load_all(a.beta, beta);
      group.load_all(a.offset, offset);
      group.load_all(a.slope, slope);
      const float *p = x + start + group.column, *q = dy + start + group.column;
      float* to = dx + start + group.column;
      for (std::int64_t r = 0; r < rows; ++r, p += columns, q += columns, to += columns) {
        for (int g = 0; g < kWidth; ++g) {
          const vf centred = group.load(p + g * kLanes) - mean[g];
          const vf d = passed<kRelu>(group.load(q + g * kLanes), centred, scale[g], beta[g]);
          group.store(to + g * kLanes, fma(centred, slope[g], fma(d, scale[g], offset[g])));
        }
      }
    });
  });
}

}  // namespace dlt::cpu::DLT_ISA

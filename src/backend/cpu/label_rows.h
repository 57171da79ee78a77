// SPDX-License-Identifier: Apache-2.0
// Losses of class labels: rows of cols numbers, `inner` rows a sample, a label each. A sample's
// loss is the mean over its labels that count.
#pragma once

#include "backend/cpu/map.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {

constexpr float kNan = __builtin_nanf("");

DLT_INLINE std::int32_t label_of(const Call& c, std::int64_t row) {
  return static_cast<const std::int32_t*>(c.in[1])[row];
}
DLT_INLINE bool counts(const Call& c, std::int64_t row) {
  return c.labels == Labels::distribution || label_of(c, row) != c.ignored;
}
DLT_INLINE std::int64_t num_counting(const Call& c, std::int64_t sample) {
  if (c.labels == Labels::distribution || c.ignored == INT32_MIN) return c.inner;
  std::int64_t count = 0;
  for (std::int64_t t = 0; t < c.inner; ++t) count += counts(c, sample * c.inner + t) ? 1 : 0;
  return count;
}

/// Output 0: the mean of loss(row) over each sample's rows that count, 0 where none does.
template <typename F>
DLT_INLINE void label_losses(const Call& c, F loss) {
  for (std::int64_t b = 0; b < c.rows; ++b) {
    double sum = 0;
    for (std::int64_t row = b * c.inner; row < (b + 1) * c.inner; ++row) {
      if (counts(c, row)) sum += static_cast<double>(loss(row));
    }
    const std::int64_t count = num_counting(c, b);
    c.y(0)[b] = count == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(count));
  }
}

/// Output 0: gradient(row, factor) writes the row's cols numbers for the given derivative of its
/// loss; a row that does not count is zeroed.
template <typename F>
DLT_INLINE void label_gradients(const Call& c, const float* dloss, F gradient) {
  for (std::int64_t b = 0; b < c.rows; ++b) {
    const std::int64_t count = num_counting(c, b);
    const float factor = count == 0 ? 0.0f : dloss[b] / static_cast<float>(count);
    for (std::int64_t row = b * c.inner; row < (b + 1) * c.inner; ++row) {
      if (counts(c, row)) {
        gradient(row, factor);
      } else {
        map(c.y(0) + row * c.cols, c.y(0) + row * c.cols, c.cols, [](vf) { return vf{}; });
      }
    }
  }
}

/// log(sum(exp(x))) of a row as its largest number and the rest.
struct LogSum {
  float shift, log_total;
  DLT_INLINE_MEMBER LogSum(const float* x, std::int64_t n) : shift(reduce_max(x, n)) {
    const float total = reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
      return exp(load_some(x + j, count) - shift);
    });
    log_total = log(set1(total))[0];
  }
};

}  // namespace dlt::cpu::DLT_ISA

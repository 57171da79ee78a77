// SPDX-License-Identifier: Apache-2.0
// Sums of the columns of a matrix [rows, n], made of vectors that a function gives.
#pragma once

#include "backend/cpu/gemm_pack.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

constexpr std::int64_t kSumsWidth = 4;  // vectors of columns at a time

/// A narrow matrix as one long row: after some rows its columns come back to the same lanes. Sums
/// the first rows, as many as are whole periods, and returns their number.
template <typename F>
DLT_INLINE std::int64_t sum_periods(std::int64_t rows, std::int64_t n, float* sums, F f) {
  std::int64_t divisor = n, rest = kLanes;
  while (rest != 0) {
    const std::int64_t next = divisor % rest;
    divisor = rest;
    rest = next;
  }
  constexpr std::int64_t kFew = 8;
  const std::int64_t least = n / divisor;  // vectors of a period
  const std::int64_t count = least >= kFew ? least : kFew / least * least;
  const std::int64_t period = count * kLanes / n;  // rows
  vf lanes[kSumsWidth * kLanes] = {};
  std::int64_t row = 0;
  for (; row + period <= rows; row += period) {
    for (std::int64_t v = 0; v < count; ++v) lanes[v] += f(row * n + v * kLanes, kLanes);
  }
  float flat[kSumsWidth * kLanes * kLanes];
  for (std::int64_t v = 0; v < count; ++v) store(flat + v * kLanes, lanes[v]);
  for (std::int64_t j = 0; j < n; ++j) {
    sums[j] = 0;
    for (std::int64_t i = 0; i < period; ++i) sums[j] += flat[i * n + j];
  }
  return row;
}

/// sums[j] = Σ over rows of f(row · n + j, count), whose first `count` lanes count (all of them if
/// it is kLanes or more). f sees every element once.
template <typename F>
DLT_INLINE void column_sums(std::int64_t rows, std::int64_t n, float* sums, F f) {
  constexpr std::int64_t kManyRows = 1024;
  std::int64_t j = 0, first = 0;
  if (n > 0 && n < kSumsWidth * kLanes && rows >= kManyRows) {
    first = sum_periods(rows, n, sums, f);
  }
  for (; j + kSumsWidth * kLanes <= n; j += kSumsWidth * kLanes) {
    vf part[kSumsWidth] = {};
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t u = 0; u < kSumsWidth; ++u) {
        part[u] += f(i * n + j + u * kLanes, kLanes);
      }
    }
    for (std::int64_t u = 0; u < kSumsWidth; ++u) store(sums + j + u * kLanes, part[u]);
  }
  for (; j < n; j += kLanes) {
    vf part = first > 0 ? load_columns(sums + j, n - j) : vf{};
    for (std::int64_t i = first; i < rows; ++i) part += f(i * n + j, n - j);
    store_columns(sums + j, part, n - j);
  }
}

}  // namespace dlt::cpu::DLT_ISA

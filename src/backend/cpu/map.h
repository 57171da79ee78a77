// SPDX-License-Identifier: Apache-2.0
// Loops over all elements, the last vector partial. An output may be the very memory of an input:
// each vector is read before it is written.
#pragma once

#include "backend/cpu/call.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

template <typename F>
DLT_INLINE void map(const float* x, float* y, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_first(y + i, f(load_first(x + i, n - i)), n - i);
}

template <typename F>
DLT_INLINE void map(const Call& call, F f) {
  map(call.x(0), call.y(0), call.numel(), f);
}

template <typename F>
DLT_INLINE void map2(const float* a, const float* b, float* y, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) store_first(y + i, f(load_first(a + i, n - i), load_first(b + i, n - i)), n - i);
}

template <typename F>
DLT_INLINE void map2(const Call& call, F f) {
  map2(call.x(0), call.x(1), call.y(0), call.numel(), f);
}

/// Sum over j < n of f(j, count), where f gives the vector at j whose first `count` lanes count
/// (kLanes but for the last); the order depends on n alone.
template <typename F>
DLT_INLINE float reduce_sum(std::int64_t n, F f) {
  vf sums[4] = {};
  std::int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (std::int64_t u = 0; u < 4; ++u) sums[u] += f(j + u * kLanes, kLanes);
  }
  for (; j + kLanes <= n; j += kLanes) sums[0] += f(j, kLanes);
  if (j < n) sums[1] += blend_first(f(j, n - j), vf{}, n - j);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// The largest of n >= 1 numbers.
DLT_INLINE float reduce_max(const float* x, std::int64_t n) {
  const vf lowest = set1(-__builtin_inff());
  vf best = lowest;
  std::int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) best = max(best, load(x + j));
  if (j < n) best = max(best, blend_first(load_first(x + j, n - j), lowest, n - j));
  return largest(best);
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/sequence.h"

#include "backend/cpu/map.h"

namespace dlt::cpu::DLT_ISA {

void add_row(const float* x, float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    store_some(y + i, load_some(y + i, n - i) + load_some(x + i, n - i), n - i);
  }
}

void add_table(const float* x, const float* table, float* y, std::int64_t count, std::int64_t n) {
  for (std::int64_t b = 0; b < count; ++b) {
    for (std::int64_t i = 0; i < n; i += kLanes) {
      store_some(y + b * n + i, load_some(x + b * n + i, n - i) + load_some(table + i, n - i),
                 n - i);
    }
  }
}

void sum_runs(const float* x, float* y, std::int64_t count, std::int64_t n) {
  constexpr std::int64_t kWidth = 4;
  std::int64_t i = 0;
  for (; i + kWidth * kLanes <= n; i += kWidth * kLanes) {
    vf sums[kWidth] = {};
    for (std::int64_t b = 0; b < count; ++b) {
      for (std::int64_t u = 0; u < kWidth; ++u) sums[u] += load(x + b * n + i + u * kLanes);
    }
    for (std::int64_t u = 0; u < kWidth; ++u) store(y + i + u * kLanes, sums[u]);
  }
  for (; i < n; i += kLanes) {
    vf sums = {};
    for (std::int64_t b = 0; b < count; ++b) sums += load_some(x + b * n + i, n - i);
    store_some(y + i, sums, n - i);
  }
}

void rotate(const Rotation& r) {
  const std::int64_t half = r.size / 2;
  for (std::int64_t row = 0; row < r.rows; ++row) {
    const float* x = r.x + row * r.width;
    float* y = r.y + row * r.width;
    const float* cosine = r.cosine + row % r.length * half;
    const float* sine = r.sine + row % r.length * half;
    for (std::int64_t h = 0; h < r.heads * r.size; h += r.size) {
      for (std::int64_t d = 0; d < half; d += kLanes) {
        const std::int64_t left = half - d;
        const vf a = load_some(x + h + d, left), b = load_some(x + h + half + d, left);
        const vf c = load_some(cosine + d, left), s = load_some(sine + d, left);
        store_some(y + h + d, a * c - b * s, left);
        store_some(y + h + half + d, b * c + a * s, left);
      }
    }
    const std::int64_t rest = r.heads * r.size;
    if (x != y) map(x + rest, y + rest, r.width - rest, [](vf v) { return v; });
  }
}

}  // namespace dlt::cpu::DLT_ISA

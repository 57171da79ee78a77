// SPDX-License-Identifier: Apache-2.0
// What the routines of recurrent layers share: scratch, the order of steps, rows of a step, and the
// product with the recurrent weight.
#pragma once

#include "backend/cpu/recurrent.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

/// Some samples on their way through all steps, and their scratch.
struct StepRun {
  RecurrentSizes sizes;
  std::int64_t width = 0;            // gates · H
  std::int64_t begin = 0, rows = 0;  // samples
  float *packed, *sums, *h, *c;      // sums [rows, width]; h and c [rows, H]
  float* gemm_scratch;

  StepRun(const RecurrentSizes& s, std::int64_t gates, float* scratch)
      : sizes(s), width(gates * s.units), packed(scratch) {
    const std::int64_t most = s.batch < kRecurrentRows ? s.batch : kRecurrentRows;
    const std::int64_t forward = gemm_packed_b_floats(width, s.units);
    const std::int64_t backward = gemm_packed_b_floats(s.units, width);
    sums = packed + in_lines(forward > backward ? forward : backward);
    h = sums + in_lines(most * width);
    c = h + in_lines(most * s.units);
    gemm_scratch = c + in_lines(most * s.units);
  }
  /// The next samples; false behind the last.
  DLT_INLINE_MEMBER bool next() {
    begin += rows;
    const std::int64_t left = sizes.batch - begin;
    rows = left < kRecurrentRows ? left : kRecurrentRows;
    return rows > 0;
  }
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t time(std::int64_t index) const {
    return sizes.reverse ? sizes.steps - 1 - index : index;
  }
  /// Row of sample begin + r at time t in a sequence.
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t row(std::int64_t r, std::int64_t t) const {
    return (begin + r) * sizes.steps + t;
  }
  DLT_INLINE_MEMBER void load_states(const float* from, float* to) const {
    for (std::int64_t i = 0; i < rows * sizes.units; ++i) {
      to[i] = from != nullptr ? from[begin * sizes.units + i] : 0.0f;
    }
  }
  DLT_INLINE_MEMBER void store_states(const float* from, float* to) const {
    if (to == nullptr) return;
    for (std::int64_t i = 0; i < rows * sizes.units; ++i) to[begin * sizes.units + i] = from[i];
  }

  DLT_INLINE_MEMBER GemmArgs forward_product() const {
    GemmArgs g;
    g.m = rows;
    g.n = width;
    g.k = sizes.units;
    g.precision = sizes.precision;
    g.a = h;
    g.c = sums;
    g.packed_b = packed;
    g.scratch = gemm_scratch;
    return g;
  }
  DLT_INLINE_MEMBER GemmArgs backward_product() const {
    GemmArgs g = forward_product();
    g.n = sizes.units;
    g.k = width;
    g.trans_b = true;
    g.a = sums;
    g.c = h;
    return g;
  }
  void pack(const float* weight, GemmArgs product) const {
    product.b = weight;
    pack_b(product, packed);
  }
};

DLT_INLINE void set_zero(float* p, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes) store_some(p + j, vf{}, n - j);
}
DLT_INLINE void copy_row(const float* from, float* to, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes)
    store_some(to + j, load_some(from + j, n - j), n - j);
}
/// to += from, which may be null.
DLT_INLINE void add_row(const float* from, float* to, std::int64_t n) {
  if (from == nullptr) return;
  for (std::int64_t j = 0; j < n; j += kLanes) {
    store_some(to + j, load_some(to + j, n - j) + load_some(from + j, n - j), n - j);
  }
}
/// The numbers at p, or zeros where there are none.
DLT_INLINE vf load_or_zero(const float* p, std::int64_t at, std::int64_t count) {
  return p != nullptr ? load_some(p + at, count) : vf{};
}
DLT_INLINE const float* row_of(const float* all, std::int64_t row, std::int64_t width) {
  return all != nullptr ? all + row * width : nullptr;
}
DLT_INLINE bool skipped(const float* mask, std::int64_t row) {
  return mask != nullptr && mask[row] == 0.0f;
}

}  // namespace dlt::cpu::DLT_ISA

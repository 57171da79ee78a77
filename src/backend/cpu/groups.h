// SPDX-License-Identifier: Apache-2.0
// A row of columns as groups of vectors.
#pragma once

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

/// kVectors neighbouring vectors of columns, or a single one of which `count` lanes count.
template <int kVectors, bool kPartial>
struct Group {
  static constexpr int kWidth = kVectors;
  static constexpr bool kIsPartial = kPartial;
  std::int64_t column, count;
  DLT_INLINE_MEMBER vf load(const float* p) const {
    return kPartial ? load_first(p, count) : *reinterpret_cast<const vf_any*>(p);
  }
  DLT_INLINE_MEMBER void store(float* p, vf v) const {
    if (kPartial) {
      store_first(p, v, count);
    } else {
      *reinterpret_cast<vf_any*>(p) = v;
    }
  }
  /// The group's numbers of an array.
  DLT_INLINE_MEMBER void load_all(const float* array, vf (&values)[kVectors]) const {
    for (int g = 0; g < kVectors; ++g) values[g] = load(array + column + g * kLanes);
  }
};

template <typename F>
DLT_INLINE void each_group(std::int64_t num_columns, F f) {
  constexpr int kWide = kLanes == 16 ? 4 : 2;  // what 32 or 16 registers hold
  std::int64_t column = 0;
  for (; column + kWide * kLanes <= num_columns; column += kWide * kLanes) {
    f(Group<kWide, false>{column, kLanes});
  }
  for (; column + kLanes <= num_columns; column += kLanes) f(Group<1, false>{column, kLanes});
  if (column < num_columns) f(Group<1, true>{column, num_columns - column});
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Rows of sequences: what embedding and the position ops do with vectors.
#pragma once

#include <cstdint>

namespace dlt::cpu {

/// Rotary embedding of x [rows, width]: of each of the first `heads` heads of `size` numbers. The
/// angle's cosine and sine stand in tables [length, size / 2]; row i has position i % length.
struct Rotation {
  const float* x = nullptr;
  float* y = nullptr;  // may be x
  std::int64_t rows = 0, width = 0, length = 0, heads = 0, size = 0;
  const float* cosine = nullptr;
  const float* sine = nullptr;
};

#define DLT_SEQUENCE_ROUTINES                                                      \
  /* y += x */                                                                     \
  void add_row(const float* x, float* y, std::int64_t n);                          \
  /* y[b] = x[b] + table for each of `count` runs of n numbers; y may be x */      \
  void add_table(const float* x, const float* table, float* y, std::int64_t count, \
                 std::int64_t n);                                                  \
  /* y = the sum of `count` runs of n numbers, in order */                         \
  void sum_runs(const float* x, float* y, std::int64_t count, std::int64_t n);     \
  void rotate(const Rotation& r);
namespace avx2 {
DLT_SEQUENCE_ROUTINES
}
namespace avx512 {
DLT_SEQUENCE_ROUTINES
}
#undef DLT_SEQUENCE_ROUTINES

}  // namespace dlt::cpu

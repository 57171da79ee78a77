// SPDX-License-Identifier: Apache-2.0
// The innermost loop of a product: a tile of c stays in registers while k runs.
#pragma once

#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_pack.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {
namespace {  // no symbol of one instruction set is shared by two files

#ifdef __AVX512F__
constexpr int kRows = 9;     // a tile's 27 sums, 3 vectors of b and one of a fill the 32 registers
constexpr int kVectors = 3;  // three rather than two: 97 % of the peak in cache instead of 92 %
#else
constexpr int kRows = 6;  // 12 sums, 2 vectors of b and one of a, of 16 registers
constexpr int kVectors = 2;
#endif
constexpr std::int64_t kAhead = 8;         // rows of b to prefetch where it lies
constexpr std::int64_t kAheadAcross = 16;  // and of an a that is stored [k,m]
static_assert(kRows <= kGemmRows && kVectors * kLanes <= kGemmWidest);

struct Tile {
  APanel a;
  const float* b = nullptr;
  std::int64_t ldb = 0;     // from k to k, where copied
  float* b_copy = nullptr;  // where the panel goes, or null
  float* c = nullptr;
  std::int64_t ldc = 0;
  std::int64_t depth = 0;
  std::int64_t columns = 0;        // valid ones, <= NV * kLanes
  const float* before = nullptr;   // what the sums begin with
  std::int64_t before_stride = 0;  // from row to row
  bool from_zero = true;           // the sums begin with 0
  float alpha = 1;
  float least = 0;                // 0: relu; minus infinity: none
  const float* next_c = nullptr;  // of the tile that follows, if any: fetched meanwhile
};

template <int MR, int NV>
DLT_INLINE void start_tile(const Tile& t, vf (&sums)[MR][NV]) {
  const bool whole = t.columns == NV * kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    const float* from = t.before + i * t.before_stride;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      if (t.from_zero) {
        sums[i][j] = vf{};
      } else if (whole) {
        sums[i][j] = load(from + j * kLanes);
      } else {
        sums[i][j] = load_columns(from + j * kLanes, t.columns - j * kLanes);
      }
    }
  }
}

template <int MR, int NV>
DLT_INLINE void finish_tile(const Tile& t, vf (&sums)[MR][NV]) {
  const bool whole = t.columns == NV * kLanes;
  const vf alpha = set1(t.alpha), least = set1(t.least);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const vf y = max(least, sums[i][j] * alpha);
      float* to = t.c + i * t.ldc + j * kLanes;
      if (whole) {
        store(to, y);
      } else {
        store_columns(to, y, t.columns - j * kLanes);
      }
    }
  }
}

/// How a tile reads its operands.
enum class Access : std::uint8_t {
  rows,    // the numbers of one row of a lie side by side
  across,  // the MR numbers of one k lie side by side
};

/// One tile of MR rows and NV vectors. copies: b is read where it lies, and packed on the way for
/// the tiles that follow.
template <int MR, int NV, Access access, bool copies>
__attribute__((noinline)) void tile_product(const Tile& t) {
  vf sums[MR][NV];
  start_tile<MR, NV>(t, sums);
  const float* a = t.a.a;
  const float* b = t.b;
  float* copy = t.b_copy;
  const std::int64_t stride = t.a.stride;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) __builtin_prefetch(t.next_c + i * t.ldc + j * kLanes, 1);
  }
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < t.depth; ++k) {
    vf columns[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      columns[j] = load(b + j * kLanes);
      if constexpr (copies) {
        store(copy + j * kLanes, columns[j]);
        __builtin_prefetch(b + kAhead * t.ldb + j * kLanes);
      }
    }
    b += copies ? t.ldb : NV * kLanes;
    copy += NV * kLanes;
    if constexpr (access == Access::across) __builtin_prefetch(a + kAheadAcross * stride);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const vf row = set1(access == Access::across ? a[i] : a[i * stride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sums[i][j] = fma(row, columns[j], sums[i][j]);
    }
    a += access == Access::across ? stride : 1;
  }
  finish_tile<MR, NV>(t, sums);
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Operands of a product rounded to bf16, in blocks of 1 KiB as tiles hold them: a block of a is 16
// rows of 32 numbers of k; a block of b is 16 pairs of k, each for 16 columns. Whatever lies behind
// the matrix is zero.
#pragma once

#include <cstdint>

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kSide = 16;        // rows, columns or pairs of a block
constexpr std::int64_t kBlockDepth = 32;  // numbers of k of a block
constexpr std::int64_t kBlock = kSide * kBlockDepth;

/// 16 rows of 64 bytes.
struct Square {
  __m512i row[kSide];
};

DLT_INLINE vf load_part(const float* p, std::int64_t count) {
  if (count >= kLanes) return load(p);
  return count > 0 ? load_first(p, count) : vf{};
}

DLT_INLINE __m512i round_two(vf low, vf high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

/// Row r holds 32 numbers from p + r * ld on.
DLT_INLINE void read_rows(const float* p, std::int64_t ld, std::int64_t rows, std::int64_t depth,
                          Square& out) {
  const bool whole = depth >= kBlockDepth;
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < kSide; ++r) {
    const float* from = p + r * ld;
    if (r >= rows) {
      out.row[r] = _mm512_setzero_si512();
    } else if (whole) {
      __builtin_prefetch(from + kBlockDepth);
      __builtin_prefetch(from + kBlockDepth + kLanes);
      out.row[r] = round_two(load(from), load(from + kLanes));
    } else {
      out.row[r] = round_two(load_part(from, depth), load_part(from + kLanes, depth - kLanes));
    }
  }
}

/// Row r holds the numbers of k = 2r and 2r + 1, side by side for each of 16 columns; k lies ld
/// apart.
DLT_INLINE void read_pairs(const float* p, std::int64_t ld, std::int64_t columns,
                           std::int64_t depth, Square& out) {
  const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                       23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < kSide; ++r) {
    const float* from = p + 2 * r * ld;
    const vf low = 2 * r < depth ? load_part(from, columns) : vf{};
    const vf high = 2 * r + 1 < depth ? load_part(from + ld, columns) : vf{};
    out.row[r] = _mm512_permutexvar_epi16(zip, round_two(low, high));
  }
}

/// Swaps rows and columns of 4 bytes.
DLT_INLINE void transpose(Square& s) {
  __m512i t[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(s.row[i], s.row[i + 1]);
    const __m512i b = _mm512_unpackhi_epi32(s.row[i], s.row[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(s.row[i + 2], s.row[i + 3]);
    const __m512i d = _mm512_unpackhi_epi32(s.row[i + 2], s.row[i + 3]);
    t[i] = _mm512_unpacklo_epi64(a, c);
    t[i + 1] = _mm512_unpackhi_epi64(a, c);
    t[i + 2] = _mm512_unpacklo_epi64(b, d);
    t[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  // t[4 i + j] holds in lane l column 4 l + j of rows 4 i ... 4 i + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);  // lanes 0, 2 of both
    const __m512i b = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);  // lanes 1, 3
    const __m512i c = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);
    s.row[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    s.row[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    s.row[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    s.row[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

DLT_INLINE void write(const Square& s, std::uint16_t* dst) {
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < kSide; ++r) {
    _mm512_storeu_si512(dst + r * kBlockDepth, s.row[r]);
  }
}

/// Some strips of a packed operand: 16 rows of a (or columns of b) over some depth of k each.
struct Strips {
  const float* src;  // element (i, k) at src[i * ld + k], or (across) at src[k * ld + i]
  std::int64_t ld;
  bool across;
  std::int64_t count;  // rows of a, columns of b
  std::int64_t depth;
  [[nodiscard]] std::int64_t blocks() const { return (depth + kBlockDepth - 1) / kBlockDepth; }
};

DLT_INLINE void pack_a_block(const Strips& s, std::int64_t i, std::int64_t k, std::uint16_t* dst) {
  Square square;
  if (s.across) {
    read_pairs(s.src + k * s.ld + i, s.ld, s.count - i, s.depth - k, square);
    transpose(square);
  } else {
    read_rows(s.src + i * s.ld + k, s.ld, s.count - i, s.depth - k, square);
  }
  write(square, dst);
}

DLT_INLINE void pack_b_block(const Strips& s, std::int64_t i, std::int64_t k, std::uint16_t* dst) {
  Square square;
  if (s.across) {
    read_pairs(s.src + k * s.ld + i, s.ld, s.count - i, s.depth - k, square);
  } else {
    read_rows(s.src + i * s.ld + k, s.ld, s.count - i, s.depth - k, square);
    transpose(square);
  }
  write(square, dst);
}

/// All blocks, in the order in which the operand lies in memory: strips one after the other in dst.
template <typename F>
DLT_INLINE void for_each_block(const Strips& s, F f) {
  const std::int64_t blocks = s.blocks();
  if (s.across) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      for (std::int64_t i = 0; i < s.count; i += kSide) {
        f(i, b * kBlockDepth, (i / kSide * blocks + b) * kBlock);
      }
    }
    return;
  }
  for (std::int64_t i = 0; i < s.count; i += kSide) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      f(i, b * kBlockDepth, (i / kSide * blocks + b) * kBlock);
    }
  }
}

__attribute__((noinline)) void pack_a_strips(const Strips& s, std::uint16_t* dst) {
  for_each_block(
      s, [&](std::int64_t i, std::int64_t k, std::int64_t to) { pack_a_block(s, i, k, dst + to); });
}

__attribute__((noinline)) void pack_b_strips(const Strips& s, std::uint16_t* dst) {
  for_each_block(
      s, [&](std::int64_t i, std::int64_t k, std::int64_t to) { pack_b_block(s, i, k, dst + to); });
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

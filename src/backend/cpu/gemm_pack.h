// SPDX-License-Identifier: Apache-2.0
// Copies of parts of a matrix in the order in which a product reads them.
#pragma once

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

/// Any count: below 1 nothing, from kLanes on a whole vector.
DLT_INLINE vf load_columns(const float* p, std::int64_t count) {
  if (count >= kLanes) return load(p);
  return count > 0 ? load_first(p, count) : vf{};
}
DLT_INLINE void store_columns(float* p, vf x, std::int64_t count) {
  if (count >= kLanes) {
    store(p, x);
  } else if (count > 0) {
    store_first(p, x, count);
  }
}

/// dst[k * width + j] = src[k * ld + j] for k < depth and j < count, and zeros up to the width.
static inline void pack_rows(const float* src, std::int64_t ld, std::int64_t depth,
                             std::int64_t count, float* dst, std::int64_t width) {
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < width; j += kLanes) {
      store(dst + k * width + j, load_columns(src + k * ld + j, count - j));
    }
  }
}

/// dst[k * rows + i] = src[k * ld + i] for k < depth and i < rows <= kLanes.
static inline void pack_across(const float* src, std::int64_t ld, std::int64_t depth,
                               std::int64_t rows, float* dst) {
  constexpr std::int64_t kAhead = 8;
  for (std::int64_t k = 0; k < depth; ++k) {
    __builtin_prefetch(src + (k + kAhead) * ld);
    store_some(dst + k * rows, load_some(src + k * ld, rows), rows);
  }
}

/// dst[j] = src[j].
static inline void copy_row(const float* src, std::int64_t count, float* dst) {
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) store(dst + j, load(src + j));
  if (j < count) store_first(dst + j, load_first(src + j, count - j), count - j);
}

/// x rounded to bf16: to nearest, ties to even; what is not a number stays so.
DLT_INLINE vf rounded(vf x) {
  const vi odd = (bits(x) >> 16) & set1i(1);
  const vf y = from_bits((bits(x) + set1i(0x7fff) + odd) & set1i(-0x10000));
  return select(x == x, y, x);
}

static inline void round_floats(const float* x, std::int64_t count, float* y) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, rounded(load(x + i)));
  if (i < count) store_first(y + i, rounded(load_first(x + i, count - i)), count - i);
}

/// Four floats of every fourth row, one row after the other.
DLT_INLINE vf load_fours(const float* src, std::int64_t ld) {
  const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src)),
                                          _mm_loadu_ps(src + 4 * ld), 1);
#ifdef __AVX512F__
  const __m512 three =
      _mm512_insertf32x4(_mm512_castps256_ps512(low), _mm_loadu_ps(src + 8 * ld), 2);
  return _mm512_insertf32x4(three, _mm_loadu_ps(src + 12 * ld), 3);
#else
  return low;
#endif
}

DLT_INLINE vf low_pairs(vf a, vf b) {
#ifdef __AVX512F__
  return _mm512_unpacklo_ps(a, b);
#else
  return _mm256_unpacklo_ps(a, b);
#endif
}
DLT_INLINE vf high_pairs(vf a, vf b) {
#ifdef __AVX512F__
  return _mm512_unpackhi_ps(a, b);
#else
  return _mm256_unpackhi_ps(a, b);
#endif
}
DLT_INLINE vf low_halves(vf a, vf b) {
#ifdef __AVX512F__
  return _mm512_shuffle_ps(a, b, 0x44);
#else
  return _mm256_shuffle_ps(a, b, 0x44);
#endif
}
DLT_INLINE vf high_halves(vf a, vf b) {
#ifdef __AVX512F__
  return _mm512_shuffle_ps(a, b, 0xee);
#else
  return _mm256_shuffle_ps(a, b, 0xee);
#endif
}

/// dst[k * width + r] = src[r * ld + k] of a square of kLanes. The loads bring the 4 by 4 blocks of
/// a column of blocks into the lanes of four vectors; each block is then transposed where it is.
DLT_INLINE void transpose_square(const float* src, std::int64_t ld, float* dst,
                                 std::int64_t width) {
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < kLanes; k += 4) {
    const vf r0 = load_fours(src + k, ld), r1 = load_fours(src + ld + k, ld);
    const vf r2 = load_fours(src + 2 * ld + k, ld), r3 = load_fours(src + 3 * ld + k, ld);
    const vf a = low_pairs(r0, r1), b = low_pairs(r2, r3);
    const vf c = high_pairs(r0, r1), d = high_pairs(r2, r3);
    store(dst + k * width, low_halves(a, b));
    store(dst + (k + 1) * width, high_halves(a, b));
    store(dst + (k + 2) * width, low_halves(c, d));
    store(dst + (k + 3) * width, high_halves(c, d));
  }
}

/// dst[k * width + j] = src[j * ld + k] for k < depth and j < count; the columns from count to the
/// next whole vector become zero.
static inline void pack_transposed(const float* src, std::int64_t ld, std::int64_t depth,
                                   std::int64_t count, float* dst, std::int64_t width) {
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const std::int64_t rows = count - j < kLanes ? count - j : kLanes;
    for (std::int64_t k = 0; k < depth; k += kLanes) {
      const float* from = src + j * ld + k;
      const std::int64_t left = depth - k < kLanes ? depth - k : kLanes;
      if (rows == kLanes && left == kLanes) {
        transpose_square(from, ld, dst + k * width + j, width);
        continue;
      }
      float square[kLanes * kLanes], turned[kLanes * kLanes];
      for (std::int64_t r = 0; r < kLanes; ++r) {
        store(square + r * kLanes, r < rows ? load_columns(from + r * ld, left) : vf{});
      }
      transpose_square(square, kLanes, turned, kLanes);
      for (std::int64_t r = 0; r < left; ++r) {
        store(dst + (k + r) * width + j, load(turned + r * kLanes));
      }
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

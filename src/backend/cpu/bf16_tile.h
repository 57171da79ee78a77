// SPDX-License-Identifier: Apache-2.0
// Up to 32 rows and 32 columns of c from packed blocks, by AMX tiles or by AVX-512's dot products.
#pragma once

#include <cstdint>

#include "backend/cpu/bf16_pack.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// Two blocks of rows times two of columns; c is 16 or 32 rows and columns (num_rows, num_columns
/// blocks) with all its memory valid.
struct Corner {
  const std::uint16_t* a[2];
  const std::uint16_t* b[2];
  std::int64_t blocks;  // along k
  float* c;
  std::int64_t ldc;
  const float* before;  // what the sums begin with, or null: 0
  std::int64_t before_stride;
};

/// Rows of 64 bytes, 16 of them, in every tile.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

template <int R, int C>
void corner_amx(const Corner& t) {
  constexpr int kBytes = 64;
  const std::int64_t stride = t.before_stride * 4;
  const float* low = t.before + 16 * t.before_stride;
  if (t.before == nullptr) {
    _tile_zero(0);
    if constexpr (C == 2) _tile_zero(1);
    if constexpr (R == 2) _tile_zero(2);
    if constexpr (R == 2 && C == 2) _tile_zero(3);
  } else {
    _tile_loadd(0, t.before, stride);
    if constexpr (C == 2) _tile_loadd(1, t.before + 16, stride);
    if constexpr (R == 2) _tile_loadd(2, low, stride);
    if constexpr (R == 2 && C == 2) _tile_loadd(3, low + 16, stride);
  }
  for (std::int64_t i = 0; i < t.blocks; ++i) {
    _tile_loadd(6, t.b[0] + i * kBlock, kBytes);
    _tile_loadd(4, t.a[0] + i * kBlock, kBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (C == 2) {
      _tile_loadd(7, t.b[1] + i * kBlock, kBytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R == 2) {
      _tile_loadd(5, t.a[1] + i * kBlock, kBytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (R == 2 && C == 2) _tile_dpbf16ps(3, 5, 7);
  }
  float* c_low = t.c + 16 * t.ldc;
  _tile_stored(0, t.c, t.ldc * 4);
  if constexpr (C == 2) _tile_stored(1, t.c + 16, t.ldc * 4);
  if constexpr (R == 2) _tile_stored(2, c_low, t.ldc * 4);
  if constexpr (R == 2 && C == 2) _tile_stored(3, c_low + 16, t.ldc * 4);
}

template <int R, int C>
void corner_avx512(const Corner& t) {
  constexpr int kHigh = 8;
  for (std::int64_t i = 0; i < R * kSide; i += kHigh) {
    __m512 sums[kHigh][C];
#pragma GCC unroll 8
    for (int r = 0; r < kHigh; ++r) {
#pragma GCC unroll 2
      for (int j = 0; j < C; ++j) {
        sums[r][j] = t.before == nullptr
                         ? _mm512_setzero_ps()
                         : _mm512_loadu_ps(t.before + (i + r) * t.before_stride + j * kSide);
      }
    }
    const std::uint16_t* a = t.a[i / kSide] + i % kSide * kBlockDepth;
    for (std::int64_t k = 0; k < t.blocks * kSide; ++k) {
      const std::int64_t block = k / kSide * kBlock, pair = k % kSide;
      __m512bh b[C];
#pragma GCC unroll 2
      for (int j = 0; j < C; ++j) {
        b[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(t.b[j] + block + pair * kBlockDepth));
      }
#pragma GCC unroll 8
      for (int r = 0; r < kHigh; ++r) {
        std::int32_t two;
        __builtin_memcpy(&two, a + block + r * kBlockDepth + 2 * pair, 4);
        const auto both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(two));
#pragma GCC unroll 2
        for (int j = 0; j < C; ++j) sums[r][j] = _mm512_dpbf16_ps(sums[r][j], both, b[j]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kHigh; ++r) {
#pragma GCC unroll 2
      for (int j = 0; j < C; ++j) {
        _mm512_storeu_ps(t.c + (i + r) * t.ldc + j * kSide, sums[r][j]);
      }
    }
  }
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// The vectors of one instruction set, for the files that are compiled once for each of them
// (DLT_ISA is avx2 or avx512). Those files and what they include use no library code with external
// linkage: an inline function compiled for AVX-512 here could otherwise be the copy the linker
// keeps for all.
#pragma once

#include <cstdint>

#include <immintrin.h>

#ifndef DLT_ISA
#define DLT_ISA avx2
#endif
#define DLT_INLINE_MEMBER inline __attribute__((always_inline))
#define DLT_INLINE static DLT_INLINE_MEMBER

namespace dlt::cpu::DLT_ISA {

#ifdef __AVX512F__
constexpr std::int64_t kLanes = 16;
#else
constexpr std::int64_t kLanes = 8;
#endif

typedef float vf __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t vi __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t vu __attribute__((vector_size(kLanes * 4)));
typedef float vf_any __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

DLT_INLINE vf set1(float x) { return x - vf{}; }
DLT_INLINE vi set1i(std::int32_t x) { return x - vi{}; }
DLT_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_any*>(p); }
DLT_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_any*>(p) = x; }
DLT_INLINE vi bits(vf x) { return reinterpret_cast<vi>(x); }
DLT_INLINE vf from_bits(vi x) { return reinterpret_cast<vf>(x); }

#ifdef __AVX512F__
DLT_INLINE __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
/// The first n lanes (0 <= n < kLanes) from memory, the rest zero; nothing else is touched.
DLT_INLINE vf load_first(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first(n), p);
}
DLT_INLINE void store_first(float* p, vf x, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first(n), x);
}
/// The first n lanes of x, the others of y.
DLT_INLINE vf blend_first(vf x, vf y, std::int64_t n) {
  return _mm512_mask_blend_ps(first(n), y, x);
}
/// If one operand is not a number the second is returned.
DLT_INLINE vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
DLT_INLINE vf min(vf a, vf b) { return _mm512_min_ps(a, b); }
DLT_INLINE vf sqrt(vf a) { return _mm512_sqrt_ps(a); }
DLT_INLINE vf round(vf a) { return _mm512_roundscale_ps(a, 8); }
DLT_INLINE vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
DLT_INLINE vi to_int(vf a) { return reinterpret_cast<vi>(_mm512_cvtps_epi32(a)); }
DLT_INLINE vf to_float(vi a) { return _mm512_cvtepi32_ps(reinterpret_cast<__m512i>(a)); }
DLT_INLINE vf select(vi mask, vf yes, vf no) {
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)), no, yes);
}
#else
DLT_INLINE __m256i first(std::int64_t n) {
  const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return reinterpret_cast<__m256i>(lane < set1i(static_cast<std::int32_t>(n)));
}
/// The first n lanes (0 <= n < kLanes) from memory, the rest zero; nothing else is touched.
DLT_INLINE vf load_first(const float* p, std::int64_t n) { return _mm256_maskload_ps(p, first(n)); }
DLT_INLINE void store_first(float* p, vf x, std::int64_t n) { _mm256_maskstore_ps(p, first(n), x); }
/// The first n lanes of x, the others of y.
DLT_INLINE vf blend_first(vf x, vf y, std::int64_t n) {
  return _mm256_blendv_ps(y, x, reinterpret_cast<__m256>(first(n)));
}
/// If one operand is not a number the second is returned.
DLT_INLINE vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
DLT_INLINE vf min(vf a, vf b) { return _mm256_min_ps(a, b); }
DLT_INLINE vf sqrt(vf a) { return _mm256_sqrt_ps(a); }
DLT_INLINE vf round(vf a) { return _mm256_round_ps(a, 8); }
DLT_INLINE vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
DLT_INLINE vi to_int(vf a) { return reinterpret_cast<vi>(_mm256_cvtps_epi32(a)); }
DLT_INLINE vf to_float(vi a) { return _mm256_cvtepi32_ps(reinterpret_cast<__m256i>(a)); }
DLT_INLINE vf select(vi mask, vf yes, vf no) {
  return _mm256_blendv_ps(no, yes, reinterpret_cast<__m256>(mask));
}
#endif

/// 0, 1, 2, ...
DLT_INLINE vi lane_numbers() {
#ifdef __AVX512F__
  return vi{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
  return vi{0, 1, 2, 3, 4, 5, 6, 7};
#endif
}

DLT_INLINE vf abs(vf x) { return from_bits(bits(x) & set1i(0x7fffffff)); }
/// |x| with the sign of s.
DLT_INLINE vf copy_sign(vf x, vf s) {
  return from_bits((bits(x) & set1i(0x7fffffff)) | (bits(s) & set1i(INT32_MIN)));
}

/// Sum and largest of the lanes, halves folded together: a fixed order. A lane that is not a number
/// makes the sum so, and may or may not make the largest so.
#ifdef __AVX512F__
DLT_INLINE __m256 upper(vf x) { return _mm512_extractf32x8_ps(x, 1); }
DLT_INLINE __m256 lower(vf x) { return _mm512_castps512_ps256(x); }
DLT_INLINE float sum(__m256 x);
DLT_INLINE float largest(__m256 x);
DLT_INLINE float sum(vf x) { return sum(_mm256_add_ps(lower(x), upper(x))); }
DLT_INLINE float largest(vf x) { return largest(_mm256_max_ps(lower(x), upper(x))); }
#endif
DLT_INLINE float sum(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
DLT_INLINE float largest(__m256 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// Up to a whole vector: count may be kLanes or more.
DLT_INLINE vf load_some(const float* p, std::int64_t count) {
  return count >= kLanes ? load(p) : load_first(p, count);
}
DLT_INLINE void store_some(float* p, vf x, std::int64_t count) {
  if (count >= kLanes) {
    store(p, x);
  } else {
    store_first(p, x, count);
  }
}

}  // namespace dlt::cpu::DLT_ISA

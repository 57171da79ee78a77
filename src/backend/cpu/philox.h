// SPDX-License-Identifier: Apache-2.0
// The random numbers of base/rng.h, one Philox block a lane.
#pragma once

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

struct Words {
  vu word[4];
};

/// The odd lanes moved down to the even ones, and the other way: shuffles, since the multiplier's
/// port is the busy one.
#ifdef __AVX512F__
DLT_INLINE __m512i odd_down(__m512i x) {
  return _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(x)));
}
DLT_INLINE __m512i even_up(__m512i x) {
  return _mm512_castps_si512(_mm512_moveldup_ps(_mm512_castsi512_ps(x)));
}
#else
DLT_INLINE __m256i odd_down(__m256i x) {
  return _mm256_castps_si256(_mm256_movehdup_ps(_mm256_castsi256_ps(x)));
}
DLT_INLINE __m256i even_up(__m256i x) {
  return _mm256_castps_si256(_mm256_moveldup_ps(_mm256_castsi256_ps(x)));
}
#endif

/// Both halves of each 32 by 32 bit product.
DLT_INLINE void multiply(vu a, std::uint32_t factor, vu& high, vu& low) {
#ifdef __AVX512F__
  const __m512i x = reinterpret_cast<__m512i>(a), f = _mm512_set1_epi32(static_cast<int>(factor));
  const __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(odd_down(x), f);
  high = reinterpret_cast<vu>(_mm512_mask_blend_epi32(0xaaaa, odd_down(even), odd));
  low = reinterpret_cast<vu>(_mm512_mask_blend_epi32(0xaaaa, even, even_up(odd)));
#else
  const __m256i x = reinterpret_cast<__m256i>(a), f = _mm256_set1_epi32(static_cast<int>(factor));
  const __m256i even = _mm256_mul_epu32(x, f), odd = _mm256_mul_epu32(odd_down(x), f);
  high = reinterpret_cast<vu>(_mm256_blend_epi32(odd_down(even), odd, 0xaa));
  low = reinterpret_cast<vu>(_mm256_blend_epi32(even, even_up(odd), 0xaa));
#endif
}

/// rng::philox4x32 of a counter in each lane.
DLT_INLINE Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    vu high0, low0, high1, low1;
    multiply(counter.word[0], 0xD2511F53u, high0, low0);
    multiply(counter.word[2], 0xCD9E8D57u, high1, low1);
    counter = {{high1 ^ counter.word[1] ^ key0, low1, high0 ^ counter.word[3] ^ key1, low0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// Four words of each lane in a row: lane 4q + i of the input becomes the q-th four of output i.
DLT_INLINE Words interleave(const Words& w) {
#ifdef __AVX512F__
  const auto get = [&](int i) { return reinterpret_cast<__m512i>(w.word[i]); };
  const auto put = [](__m512i x) { return reinterpret_cast<vu>(x); };
  const __m512i a = _mm512_unpacklo_epi32(get(0), get(1)),
                b = _mm512_unpackhi_epi32(get(0), get(1));
  const __m512i c = _mm512_unpacklo_epi32(get(2), get(3)),
                d = _mm512_unpackhi_epi32(get(2), get(3));
  return {{put(_mm512_unpacklo_epi64(a, c)), put(_mm512_unpackhi_epi64(a, c)),
           put(_mm512_unpacklo_epi64(b, d)), put(_mm512_unpackhi_epi64(b, d))}};
#else
  const auto get = [&](int i) { return reinterpret_cast<__m256i>(w.word[i]); };
  const auto put = [](__m256i x) { return reinterpret_cast<vu>(x); };
  const __m256i a = _mm256_unpacklo_epi32(get(0), get(1)),
                b = _mm256_unpackhi_epi32(get(0), get(1));
  const __m256i c = _mm256_unpacklo_epi32(get(2), get(3)),
                d = _mm256_unpackhi_epi32(get(2), get(3));
  return {{put(_mm256_unpacklo_epi64(a, c)), put(_mm256_unpackhi_epi64(a, c)),
           put(_mm256_unpacklo_epi64(b, d)), put(_mm256_unpackhi_epi64(b, d))}};
#endif
}

/// rng::mix
DLT_INLINE std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// Draws 4 * kLanes successive elements of a stream: words of whole blocks.
struct Stream {
  std::uint64_t key, epoch, sample;

  /// Those from block `first` on, in order. Keep x if x >> 8, 24 random bits, is large enough.
  DLT_INLINE_MEMBER Words draw(std::uint32_t first) const {
    // Lane 4q + i draws block i * kLanes/4 + q, so that interleave() leaves blocks in order.
    const vu lane = reinterpret_cast<vu>(lane_numbers());
    const vu order = (lane & 3u) * static_cast<std::uint32_t>(kLanes / 4) + (lane >> 2);
    const auto word = [](std::uint64_t x) { return static_cast<std::uint32_t>(x) + vu{}; };
    return interleave(philox({{order + first, word(epoch), word(sample), word(sample >> 32)}},
                             static_cast<std::uint32_t>(key),
                             static_cast<std::uint32_t>(key >> 32)));
  }
};

}  // namespace dlt::cpu::DLT_ISA

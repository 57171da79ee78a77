// SPDX-License-Identifier: Apache-2.0
#include "ddp/sum.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __AVX__
#include <immintrin.h>
#endif

namespace dlt::ddp {

void add(float* out, const float* a, const float* b, std::int64_t count) {
  // Vectors by name, not by the optimiser's grace: out may be a or b, which it would have to check.
  using Lanes = float __attribute__((vector_size(32)));
  constexpr std::int64_t kLanes = 8;
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    Lanes x;
    Lanes y;
    Lanes u;
    Lanes v;
    std::memcpy(&x, a + i, sizeof x);
    std::memcpy(&y, b + i, sizeof y);
    std::memcpy(&u, a + i + kLanes, sizeof u);
    std::memcpy(&v, b + i + kLanes, sizeof v);
    x += y;
    u += v;
    std::memcpy(out + i, &x, sizeof x);
    std::memcpy(out + i + kLanes, &u, sizeof u);
  }
  for (; i + kLanes <= count; i += kLanes) {
    Lanes x;
    Lanes y;
    std::memcpy(&x, a + i, sizeof x);
    std::memcpy(&y, b + i, sizeof y);
    x += y;
    std::memcpy(out + i, &x, sizeof x);
  }
  for (; i < count; ++i) out[i] = a[i] + b[i];
}

void add_past_caches(float* out, const float* a, const float* b, std::int64_t count) {
#ifdef __AVX__
  constexpr std::int64_t kLanes = 8;
  if (reinterpret_cast<std::uintptr_t>(out) % sizeof(__m256) != 0) return add(out, a, b, count);
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const __m256 x = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    const __m256 y =
        _mm256_add_ps(_mm256_loadu_ps(a + i + kLanes), _mm256_loadu_ps(b + i + kLanes));
    _mm256_stream_ps(out + i, x);
    _mm256_stream_ps(out + i + kLanes, y);
  }
  _mm_sfence();  // before whatever says that the sums are there
  add(out + i, a + i, b + i, count - i);
#else
  add(out, a, b, count);
#endif
}

void run_additions(std::span<float* const> buffers, std::span<const Addition> additions,
                   std::int64_t begin, std::int64_t end) {
  if (additions.empty()) return;
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    for (const Addition& addition : additions) {
      float* dst = buffers[static_cast<std::size_t>(addition.dst)] + at;
      add(dst, dst, buffers[static_cast<std::size_t>(addition.src)] + at, count);
    }
  }
}

}  // namespace dlt::ddp

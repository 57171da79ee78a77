// SPDX-License-Identifier: Apache-2.0
#include "ddp/sum.h"

#include <algorithm>
#include <cstring>

namespace dlt::ddp {

void add(float* out, const float* a, const float* b, std::int64_t count) {
  // Vectors by name, not by the optimiser's grace: out may be a or b, which it would have to check.
  using Lanes = float __attribute__((vector_size(32)));
  constexpr std::int64_t kLanes = 8;
  std::int64_t i = 0;
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

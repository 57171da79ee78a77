// SPDX-License-Identifier: Apache-2.0
// Dropout with the random numbers of base/rng.h.
#include "backend/cpu/map.h"
#include "backend/cpu/philox.h"
#include "backend/cpu/routines.h"

namespace dlt::cpu::DLT_ISA {

void run_dropout(const Call& c) {
  const std::int64_t n = c.cols;
  const vi threshold = set1i(static_cast<std::int32_t>(c.threshold));
  for (std::int64_t b = 0; b < c.rows; ++b) {
    const Stream stream{mix(c.seed ^ mix(c.op)), c.epoch,
                        static_cast<std::uint64_t>(c.sample_ids[b])};
    const float* x = c.x(0) + b * n;
    float* y = c.y(0) + b * n;
    for (std::int64_t j = 0; j < n; j += 4 * kLanes) {
      const Words words = stream.draw(static_cast<std::uint32_t>((c.first + j) / 4));
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t at = j + i * kLanes;
        if (at >= n) break;
        const vi drop = reinterpret_cast<vi>(words.word[i] >> 8) < threshold;
        store_some(y + at, select(drop, vf{}, load_some(x + at, n - at) * c.p0), n - at);
      }
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

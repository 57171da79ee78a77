// SPDX-License-Identifier: Apache-2.0
// A job whose predicted steps can be worked out by hand.
#pragma once

#include <cstdint>

#include "ddp/scaling.h"

namespace dlt::ddp {

// 4 MB in four buckets of 1 MB; 100 MB/s; a leaf of 40 ms whose gradients are final at 20, 25, 30
// and 40 ms.
inline constexpr std::int64_t kQuarter = 250000;

inline StepProfile profile(std::int64_t quarter = kQuarter) {
  return {
      .leaf_s = 0.040,
      .ready = {{quarter, 0.020}, {2 * quarter, 0.025}, {3 * quarter, 0.030}, {4 * quarter, 0.040}},
      .update_s = 0.008,
      .other_s = 0.001};
}
inline Fabric fabric() {
  return {.bytes_per_s = 100e6, .latency_s = 0, .message_s = 0, .memory_bytes_per_s = 1e9};
}
inline ScaledJob job(int num_ranks, std::int64_t quarter = kQuarter) {
  ScaledJob out{.num_ranks = num_ranks, .updates_early = false};
  out.reducer.num_leaves = num_ranks;
  out.reducer.total = 4 * quarter;
  for (std::int64_t b = 0; b < 4; ++b) {
    out.reducer.buckets.push_back({b * quarter, (b + 1) * quarter});
  }
  return out;
}

}  // namespace dlt::ddp

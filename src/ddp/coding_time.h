// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/clock.h"
#include "ddp/reducer.h"

namespace dlt::ddp {

/// What a rank computes to compress a bucket and to get its sum back, error feedback included.
struct CodingTime {
  double two_ranks_s = 0;
  double further_rank_s = 0;  // beyond two
  [[nodiscard]] double of(int num_ranks) const {
    return two_ranks_s + (num_ranks - 2) * further_rank_s;
  }
};

/// Of each bucket: runs the compression of the options a few times on random numbers, with messages
/// that nobody sends.
[[nodiscard]] std::vector<CodingTime> measure_coding(const ReducerOptions& options,
                                                     const Clock& clock);
/// The same from what it reads and writes, if memory does that many bytes a second for a rank.
[[nodiscard]] std::vector<CodingTime> suppose_coding(const ReducerOptions& options,
                                                     double memory_bytes_per_s);

}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "comm/communicator.h"

namespace dlt::ddp {

/// What it takes to reduce a bucket across the ranks: latency_s + bytes · seconds_per_byte.
struct Link {
  double latency_s = 0;
  double seconds_per_byte = 0;
  [[nodiscard]] double seconds(std::int64_t bytes) const {
    return latency_s + static_cast<double>(bytes) * seconds_per_byte;
  }
};

/// Times a few exchanges of two sizes, cut and sent as buckets are; the slowest rank's times count,
/// and so all ranks get the same answer. Takes some 10 ms at 100 Mbit/s, less on faster links.
/// Collective; world_size is at least 2.
[[nodiscard]] Link probe_link(comm::Communicator& comm, const Clock& clock);

}  // namespace dlt::ddp

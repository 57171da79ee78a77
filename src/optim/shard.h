// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace dlt::optim {

/// The part of the flat buffers that a rank updates. The optimiser's state is kept for it alone,
/// packed: one range behind the other.
struct Shard {
  struct Range {
    std::int64_t begin = 0, end = 0;  // elements of the flat buffers
    std::int64_t state_begin = 0;     // element of the state buffers that belongs to `begin`
  };
  std::vector<Range> ranges;  // ascending; cut between the blocks of parameters
  [[nodiscard]] std::int64_t num_elements() const {
    return ranges.empty() ? 0 : ranges.back().state_begin + ranges.back().end - ranges.back().begin;
  }
  void append(std::int64_t begin, std::int64_t end) {
    if (end > begin) ranges.push_back({begin, end, num_elements()});
  }
  /// The whole buffer, as one rank alone has it.
  [[nodiscard]] static Shard whole(std::int64_t num_elements) {
    Shard shard;
    shard.append(0, num_elements);
    return shard;
  }
};

}  // namespace dlt::optim

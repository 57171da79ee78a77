// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ddp/link_probe.h"
#include "tensor/flat_layout.h"

namespace dlt::ddp {

/// A range of the flat gradient buffer that is reduced in one go, in elements.
struct Bucket {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};
[[nodiscard]] inline std::int64_t size(const Bucket& range) { return range.end - range.begin; }
/// Gradients travel as f32.
inline constexpr std::int64_t kElement_bytes = 4;

/// Cuts the flat buffer into buckets of about bucket_bytes, in the order in which gradients become
/// final. Covers [0, total); cuts lie between parameters only, so a parameter larger than
/// bucket_bytes makes a larger bucket. A run of small parameters (less than half a bucket before a
/// large one, less than a quarter at the end) joins its neighbour: a message has a price of its
/// own. bucket_bytes 0 means auto: an eighth of the buffer, within 1 to 16 MiB.
[[nodiscard]] std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout,
                                               std::int64_t bucket_bytes);

/// How far the gradients are final, and when in a backward pass that is.
struct ReadyPoint {
  std::int64_t prefix = 0;  // elements [0, prefix) are final
  double time_s = 0;
};

/// When the last bucket's sum is there if each moves, one behind the other, once it is final.
/// ready: ascending, ends with the whole buffer.
[[nodiscard]] double finish_time_s(const std::vector<Bucket>& buckets,
                                   const std::vector<ReadyPoint>& ready, const Link& link);

/// The buckets whose sums are there first: many small ones pay for many messages, few large ones
/// leave much to be moved behind the backward pass. The fewest of those that finish at most a
/// sixteenth of the time that all bytes take behind the best.
/// None is much larger than most_bytes, but where a parameter is.
[[nodiscard]] std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout,
                                               const std::vector<ReadyPoint>& ready,
                                               const Link& link,
                                               std::int64_t most_bytes = std::int64_t{64} << 20);

}  // namespace dlt::ddp

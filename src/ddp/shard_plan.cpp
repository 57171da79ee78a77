// SPDX-License-Identifier: Apache-2.0
#include "ddp/shard_plan.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

/// Where blocks begin, ascending, and the end of the buffer.
std::vector<std::int64_t> block_cuts(const tensor::FlatLayout& layout) {
  std::vector<std::int64_t> cuts;
  for (const tensor::FlatLayout::Entry& entry : layout.entries) {
    for (std::int64_t at = 0; at < std::max<std::int64_t>(entry.numel, 1);
         at += tensor::kBlockElements) {
      cuts.push_back(entry.offset + at);
    }
  }
  cuts.push_back(layout.total);
  return cuts;
}

/// The element of an ascending list that is nearest to a value.
std::int64_t nearest(const std::vector<std::int64_t>& list, std::int64_t value) {
  const auto above = std::lower_bound(list.begin(), list.end(), value);
  if (above == list.begin()) return *above;
  if (above == list.end()) return list.back();
  const std::int64_t below = *std::prev(above);
  return value - below <= *above - value ? below : *above;
}

}  // namespace

ShardPlan::ShardPlan(const tensor::FlatLayout& layout, std::vector<Bucket> buckets, int world_size)
    : buckets_(std::move(buckets)), world_size_(world_size) {
  DLT_CHECK(world_size > 0, cat("shards of ", world_size, " ranks"));
  cut(block_cuts(layout));
}

/// owed[i] is how many elements the first i ranks lack so far, for lack of a cut in the right
/// place.
void ShardPlan::cut(const std::vector<std::int64_t>& legal) {
  std::vector<std::int64_t> owed(static_cast<std::size_t>(world_size_) + 1, 0);
  for (const Bucket& bucket : buckets_) {
    std::int64_t last = bucket.begin;
    for (int i = 0; i <= world_size_; ++i) {
      const std::int64_t fair = (bucket.end - bucket.begin) * i / world_size_;
      std::int64_t& mine = owed[static_cast<std::size_t>(i)];
      const std::int64_t wanted = bucket.begin + fair + mine;
      const std::int64_t at = i == 0 ? bucket.begin
                              : i == world_size_
                                  ? bucket.end
                                  : std::clamp(nearest(legal, wanted), last, bucket.end);
      mine = wanted - at;
      cuts_.push_back(at);
      last = at;
    }
  }
}

Bucket ShardPlan::slice(std::size_t bucket, int rank) const {
  const std::size_t at =
      bucket * (static_cast<std::size_t>(world_size_) + 1) + static_cast<std::size_t>(rank);
  return {cuts_[at], cuts_[at + 1]};
}

Bucket ShardPlan::slice(const Bucket& bucket, int rank) const {
  const auto found =
      std::lower_bound(buckets_.begin(), buckets_.end(), bucket.begin,
                       [](const Bucket& b, std::int64_t begin) { return b.begin < begin; });
  DLT_CHECK(found != buckets_.end() && *found == bucket,
            cat("no bucket [", bucket.begin, ", ", bucket.end, ") is cut into shards"));
  return slice(static_cast<std::size_t>(found - buckets_.begin()), rank);
}

std::int64_t ShardPlan::elements(int rank) const {
  std::int64_t total = 0;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const Bucket mine = slice(b, rank);
    total += mine.end - mine.begin;
  }
  return total;
}

}  // namespace dlt::ddp

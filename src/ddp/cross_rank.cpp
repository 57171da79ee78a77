// SPDX-License-Identifier: Apache-2.0
#include "ddp/cross_rank.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "ddp/sum.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kElement_bytes = 4;
/// Slices begin at whole cache lines of the bucket.
constexpr std::int64_t kGrain = 16;
/// Up to this many bytes to receive, one round of whole buckets is faster than two of slices.
constexpr std::int64_t kWhole_bytes = 64 << 10;

std::int64_t size(const Bucket& bucket) { return bucket.end - bucket.begin; }

std::int64_t round_up(std::int64_t count) { return (count + kGrain - 1) / kGrain * kGrain; }

}  // namespace

CrossRankPlan::CrossRankPlan(const LeafDivision& division, std::optional<ShardPlan> shards)
    : world_size_(division.world_size()), shards_(std::move(shards)) {
  const int num_leaves = division.num_leaves();
  std::vector<TreeNode> all;
  for (int r = 0; r < world_size_; ++r) {
    const std::vector<TreeNode> nodes = cover(division.of(r), num_leaves);
    all.insert(all.end(), nodes.begin(), nodes.end());
    owners_.insert(owners_.end(), nodes.size(), r);
  }
  MergePlan plan = merge(all, num_leaves);
  DLT_CHECK(plan.results == std::vector<int>{0}, "the nodes of all ranks make one tree");
  additions_ = std::move(plan.additions);
}

bool CrossRankPlan::whole(const Bucket& bucket) const {
  if (shards_) return false;
  const auto num_received = static_cast<std::int64_t>(owners_.size()) - 1;
  return size(bucket) * num_received * kElement_bytes <= kWhole_bytes;
}

Bucket CrossRankPlan::slice(const Bucket& bucket, int rank) const {
  if (shards_) return shards_->slice(bucket, rank);
  if (whole(bucket)) return bucket;
  const std::int64_t num_grains = round_up(size(bucket)) / kGrain;
  const auto cut = [&](std::int64_t i) {
    return std::min(bucket.end, bucket.begin + num_grains * i / world_size_ * kGrain);
  };
  return {cut(rank), cut(rank + 1)};
}

std::int64_t CrossRankPlan::num_nodes(int rank) const {
  return std::count(owners_.begin(), owners_.end(), rank);
}

std::int64_t CrossRankPlan::sent_bytes(const Bucket& bucket, int rank) const {
  std::int64_t elements = 0;
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank) continue;
    elements += num_nodes(rank) * size(slice(bucket, r));
    if (!whole(bucket) && !shards_) elements += size(slice(bucket, rank));
  }
  return elements * kElement_bytes;
}

std::int64_t CrossRankPlan::received_bytes(const std::vector<Bucket>& buckets, int rank) const {
  std::int64_t longest = 0;
  for (const Bucket& bucket : buckets) {
    longest = std::max(longest, round_up(size(slice(bucket, rank))));
  }
  const auto num_received = static_cast<std::int64_t>(owners_.size()) - num_nodes(rank);
  return longest * num_received * kElement_bytes;
}

CrossRank::CrossRank(BucketReductionOptions options)
    : options_(std::move(options)), plan_(options_.division, options_.shards) {
  DLT_CHECK(plan_.num_nodes(options_.rank) == static_cast<std::int64_t>(options_.nodes.size()),
            "this rank's buffers are the nodes that cover its leaves");
  received_ = tensor::Storage::allocate(plan_.received_bytes(options_.buckets, options_.rank));
  sources_.resize(plan_.owners().size());
  const auto world_size = static_cast<std::size_t>(options_.division.world_size());
  sends_.reserve(world_size * std::max<std::size_t>(1, options_.nodes.size()));
  receives_.reserve(std::max(world_size, sources_.size()));
}

void CrossRank::reduce(comm::Communicator& comm, std::size_t bucket) {
  const Bucket& range = options_.buckets[bucket];
  gather_nodes(comm, range);
  finish_tree(plan_.slice(range, options_.rank));
  if (!plan_.whole(range) && !options_.shards) gather_slices(comm, range);
}

void CrossRank::gather_nodes(comm::Communicator& comm, const Bucket& bucket) {
  const Bucket mine = plan_.slice(bucket, options_.rank);
  sends_.clear();
  receives_.clear();
  for (int r = 0; r < options_.division.world_size(); ++r) {
    if (r == options_.rank) continue;
    const Bucket theirs = plan_.slice(bucket, r);
    for (const float* node : options_.nodes) {
      sends_.push_back(
          {.peer = r, .data = node + theirs.begin, .num_bytes = size(theirs) * kElement_bytes});
    }
  }
  auto* free = reinterpret_cast<float*>(received_.data());
  std::size_t own = 0;
  const std::vector<int>& owners = plan_.owners();
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (owners[i] == options_.rank) {
      sources_[i] = options_.nodes[own++] + mine.begin;
      continue;
    }
    sources_[i] = free;
    free += round_up(size(mine));
    receives_.push_back(
        {.peer = owners[i], .data = sources_[i], .num_bytes = size(mine) * kElement_bytes});
  }
  comm.exchange(sends_, receives_);
}

/// Block by block, so that what one addition writes is still in the cache for the next.
void CrossRank::finish_tree(const Bucket& mine) {
  const auto source = [&](int i) { return sources_[static_cast<std::size_t>(i)]; };
  const std::vector<Addition>& additions = plan_.additions();
  float* out = options_.reduced + mine.begin;
  for (std::int64_t at = 0; at < size(mine); at += kBlock) {
    const std::int64_t count = std::min(kBlock, size(mine) - at);
    for (std::size_t i = 0; i < additions.size(); ++i) {
      float* dst = source(additions[i].dst) + at;
      const bool last = i + 1 == additions.size();
      add(last ? out + at : dst, dst, source(additions[i].src) + at, count);
    }
    if (additions.empty() && source(0) != out) {
      std::memcpy(out + at, source(0) + at, static_cast<std::size_t>(count * kElement_bytes));
    }
  }
}

void CrossRank::gather_slices(comm::Communicator& comm, const Bucket& bucket) {
  const Bucket mine = plan_.slice(bucket, options_.rank);
  sends_.clear();
  receives_.clear();
  for (int r = 0; r < options_.division.world_size(); ++r) {
    if (r == options_.rank) continue;
    const Bucket theirs = plan_.slice(bucket, r);
    sends_.push_back({.peer = r,
                      .data = options_.reduced + mine.begin,
                      .num_bytes = size(mine) * kElement_bytes});
    receives_.push_back({.peer = r,
                         .data = options_.reduced + theirs.begin,
                         .num_bytes = size(theirs) * kElement_bytes});
  }
  comm.exchange(sends_, receives_);
}

}  // namespace dlt::ddp

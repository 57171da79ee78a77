// SPDX-License-Identifier: Apache-2.0
#include "ddp/cross_rank.h"

#include <algorithm>
#include <cstring>

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

CrossRank::CrossRank(Options options) : options_(std::move(options)) {
  std::vector<TreeNode> all;
  const LeafRange leaves{0, options_.num_leaves};
  for (int r = 0; r < options_.world_size; ++r) {
    const std::vector<TreeNode> nodes =
        cover(split(leaves, options_.world_size, r), options_.num_leaves);
    all.insert(all.end(), nodes.begin(), nodes.end());
    owners_.insert(owners_.end(), nodes.size(), r);
  }
  MergePlan plan = merge(all, options_.num_leaves);
  DLT_CHECK(plan.results.size() == 1, "the nodes of all ranks make one tree");
  additions_ = std::move(plan.additions);
  result_ = plan.results[0];
  const auto mine = std::count(owners_.begin(), owners_.end(), options_.rank);
  DLT_CHECK(static_cast<std::size_t>(mine) == options_.nodes.size(),
            "this rank's buffers are the nodes that cover its leaves");

  std::int64_t longest = 0;
  for (const Bucket& bucket : options_.buckets) {
    longest = std::max(longest, round_up(size(slice(bucket, options_.rank))));
  }
  const auto num_received = static_cast<std::int64_t>(owners_.size()) - mine;
  received_ = tensor::Storage::allocate(longest * num_received * kElement_bytes);
  sources_.resize(owners_.size());
  const auto world_size = static_cast<std::size_t>(options_.world_size);
  sends_.reserve(world_size * std::max<std::size_t>(1, options_.nodes.size()));
  receives_.reserve(std::max(world_size, owners_.size()));
}

void CrossRank::reduce(comm::Communicator& comm, std::size_t bucket) {
  const Bucket& range = options_.buckets[bucket];
  gather_nodes(comm, range);
  finish_tree(slice(range, options_.rank));
  if (slice(range, 0) != range) gather_slices(comm, range);
}

/// The elements that `rank` finishes: a part of the bucket, or all of a small one.
Bucket CrossRank::slice(const Bucket& bucket, int rank) const {
  const auto num_received = static_cast<std::int64_t>(owners_.size()) - 1;
  if (size(bucket) * num_received * kElement_bytes <= kWhole_bytes) return bucket;
  const std::int64_t num_grains = round_up(size(bucket)) / kGrain;
  const auto cut = [&](std::int64_t i) {
    return std::min(bucket.end, bucket.begin + num_grains * i / options_.world_size * kGrain);
  };
  return {cut(rank), cut(rank + 1)};
}

void CrossRank::gather_nodes(comm::Communicator& comm, const Bucket& bucket) {
  const Bucket mine = slice(bucket, options_.rank);
  sends_.clear();
  receives_.clear();
  for (int r = 0; r < options_.world_size; ++r) {
    if (r == options_.rank) continue;
    const Bucket theirs = slice(bucket, r);
    for (const float* node : options_.nodes) {
      sends_.push_back(
          {.peer = r, .data = node + theirs.begin, .num_bytes = size(theirs) * kElement_bytes});
    }
  }
  auto* free = reinterpret_cast<float*>(received_.data());
  std::size_t own = 0;
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    if (owners_[i] == options_.rank) {
      sources_[i] = options_.nodes[own++] + mine.begin;
      continue;
    }
    sources_[i] = free;
    free += round_up(size(mine));
    receives_.push_back(
        {.peer = owners_[i], .data = sources_[i], .num_bytes = size(mine) * kElement_bytes});
  }
  comm.exchange(sends_, receives_);
}

/// Block by block, so that what one addition writes is still in the cache for the next.
void CrossRank::finish_tree(const Bucket& mine) {
  const auto source = [&](int i) { return sources_[static_cast<std::size_t>(i)]; };
  float* out = options_.reduced + mine.begin;
  for (std::int64_t at = 0; at < size(mine); at += kBlock) {
    const std::int64_t count = std::min(kBlock, size(mine) - at);
    for (std::size_t i = 0; i < additions_.size(); ++i) {
      float* dst = source(additions_[i].dst) + at;
      const bool last = i + 1 == additions_.size();
      add(last ? out + at : dst, dst, source(additions_[i].src) + at, count);
    }
    if (additions_.empty() && source(result_) != out) {
      std::memcpy(out + at, source(result_) + at, static_cast<std::size_t>(count * kElement_bytes));
    }
  }
}

void CrossRank::gather_slices(comm::Communicator& comm, const Bucket& bucket) {
  const Bucket mine = slice(bucket, options_.rank);
  sends_.clear();
  receives_.clear();
  for (int r = 0; r < options_.world_size; ++r) {
    if (r == options_.rank) continue;
    const Bucket theirs = slice(bucket, r);
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

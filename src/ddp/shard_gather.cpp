// SPDX-License-Identifier: Apache-2.0
#include "ddp/shard_gather.h"

#include <algorithm>

namespace dlt::ddp {

ShardGather::ShardGather(const ShardPlan& plan, int rank) : plan_(&plan), rank_(rank) {
  const auto world_size = static_cast<std::size_t>(plan.world_size());
  sends_.reserve(world_size);
  receives_.reserve(world_size);
}

void ShardGather::run(comm::Communicator& comm, float* flat, std::size_t bucket) {
  for (int owner = 0; owner < plan_->world_size(); ++owner) {
    add(flat, plan_->slice(bucket, owner), owner);
  }
  exchange(comm);
}

void ShardGather::run(comm::Communicator& comm, float* flat, std::span<const Bucket> ranges) {
  for (std::size_t b = 0; b < plan_->buckets().size(); ++b) {
    bool any = false;
    for (int owner = 0; owner < plan_->world_size(); ++owner) {
      const Bucket slice = plan_->slice(b, owner);
      for (const Bucket& range : ranges) {
        const Bucket part{std::max(slice.begin, range.begin), std::min(slice.end, range.end)};
        if (part.begin >= part.end) continue;
        add(flat, part, owner);
        any = true;
      }
    }
    if (any) exchange(comm);
  }
}

void ShardGather::add(float* flat, const Bucket& range, int owner) {
  const std::int64_t num_bytes = (range.end - range.begin) * std::int64_t{sizeof(float)};
  if (num_bytes == 0) return;
  if (owner != rank_) {
    receives_.push_back({.peer = owner, .data = flat + range.begin, .num_bytes = num_bytes});
    return;
  }
  for (int r = 0; r < plan_->world_size(); ++r) {
    if (r == rank_) continue;
    sends_.push_back({.peer = r, .data = flat + range.begin, .num_bytes = num_bytes});
  }
}

void ShardGather::exchange(comm::Communicator& comm) {
  comm.exchange(sends_, receives_);
  sends_.clear();
  receives_.clear();
}

}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#include "ddp/cost.h"

#include <algorithm>

#include "ddp/compression/reductions.h"
#include "ddp/leaf_tree.h"
#include "ddp/local_sums.h"
#include "ddp/reduction_plan.h"

namespace dlt::ddp {

namespace {

/// Of the buffers of workers with a leaf each where reduced buckets are given back: the rank's
/// slices, which the first buffer keeps, and the rest of the buckets that may be under way at once.
std::int64_t kept_bytes(const ReducerOptions& options, int rank, int num_buffers) {
  constexpr std::size_t kUnder_way = kBuckets_ahead + 1;
  const std::size_t num_buckets = options.buckets.size();
  std::int64_t most = 0;
  for (std::size_t first = 0; first < num_buckets; ++first) {
    std::int64_t beside_slices = 0;
    for (std::size_t b = first; b < std::min(first + kUnder_way, num_buckets); ++b) {
      const Bucket slice = options.shards->slice(b, rank);
      beside_slices += (options.buckets[b].end - options.buckets[b].begin) * num_buffers -
                       (slice.end - slice.begin);
    }
    most = std::max(most, beside_slices);
  }
  return (options.shards->elements(rank) + most) * static_cast<std::int64_t>(sizeof(float));
}

bool is_first_of_host(const comm::Hosts& hosts, int rank) {
  return std::any_of(hosts.begin(), hosts.end(),
                     [&](const std::vector<int>& ranks) { return ranks.front() == rank; });
}

}  // namespace

Cost cost_of_exact_reduction(const BucketReductionOptions& options) {
  const comm::Hosts hosts =
      options.hosts.empty() ? comm::lone_hosts(options.division.world_size()) : options.hosts;
  const ReductionPlan plan(options.division, hosts, options.shards);
  Cost cost;
  cost.buffer_bytes = plan.received_bytes(options.buckets, options.rank) +
                      plan.partial_bytes(options.buckets, options.rank) +
                      plan.peer_bytes(options.buckets, options.rank);
  for (const Bucket& bucket : options.buckets) {
    cost.sent_bytes += plan.sent_bytes(bucket, options.rank);
    cost.num_rounds += plan.num_rounds(bucket, options.rank);
  }
  return cost;
}

Cost planned_cost(const ReducerOptions& options, const comm::Hosts& hosts, int rank) {
  int world_size = 0;
  for (const std::vector<int>& ranks : hosts) world_size += static_cast<int>(ranks.size());
  const bool shared = options.wants_shared_memory(hosts);
  const std::int64_t flat_bytes = options.total * static_cast<std::int64_t>(sizeof(float));
  const LeafDivision division = options.division(world_size);
  const LeafRange mine = division.of(rank);
  Cost cost;
  for (int worker = 0; worker < options.num_workers; ++worker) {
    const WorkerPlan plan =
        plan_worker(split(mine, options.num_workers, worker), options.num_leaves);
    cost.buffer_bytes += plan.num_buffers * buffer_stride_bytes(options.total);
  }
  if (shared) cost.shared_bytes = cost.buffer_bytes;
  if (mine.size() == 0 || shared) cost.buffer_bytes += flat_bytes;
  if (shared && is_first_of_host(hosts, rank)) cost.shared_bytes += flat_bytes;
  if (world_size == 1 || options.reduction == Reduction::none) return cost;
  const bool written_once = mine.size() <= options.num_workers;
  if (options.release && options.overlap && written_once && mine.size() > 0) {
    cost.buffer_bytes = std::min(cost.buffer_bytes, kept_bytes(options, rank, mine.size()));
  }
  if (options.reduction == Reduction::fast) {
    cost.sent_bytes = 2 * flat_bytes * (world_size - 1) / world_size;
    return cost;
  }
  BucketReductionOptions reduction{.rank = rank,
                                   .division = division,
                                   .buckets = options.buckets,
                                   .shards = options.shards,
                                   .compression = options.compression,
                                   .ranges = options.ranges};
  if (shared) reduction.hosts = hosts;
  reduction.nodes.resize(cover(mine, options.num_leaves).size());
  const Cost across = reduction.compression.active() ? cost_of_compressed_reduction(reduction)
                                                     : cost_of_exact_reduction(reduction);
  cost.buffer_bytes += across.buffer_bytes;
  cost.sent_bytes += across.sent_bytes;
  cost.num_rounds += across.num_rounds;
  if (options.shards && options.gathers) {  // the new parameters
    cost.num_rounds += static_cast<std::int64_t>(options.buckets.size());
    cost.sent_bytes +=
        options.shards->elements(rank) * (world_size - 1) * std::int64_t{sizeof(float)};
  }
  return cost;
}

}  // namespace dlt::ddp

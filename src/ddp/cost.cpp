// SPDX-License-Identifier: Apache-2.0
#include "ddp/cost.h"

#include <algorithm>

#include "ddp/leaf_tree.h"

namespace dlt::ddp {

Cost planned_cost(const ReducerOptions& options, int world_size, int rank) {
  const std::int64_t flat_bytes = options.total * static_cast<std::int64_t>(sizeof(float));
  const LeafRange all{0, options.num_leaves};
  const LeafRange mine = split(all, world_size, rank);
  Cost cost;
  for (int worker = 0; worker < options.num_workers; ++worker) {
    cost.buffer_bytes +=
        plan_worker(split(mine, options.num_workers, worker), options.num_leaves).num_buffers *
        flat_bytes;
  }
  if (world_size == 1) return cost;
  const std::int64_t others = world_size - 1;
  if (options.reduction == Reduction::fast) {
    cost.sent_bytes = 2 * flat_bytes * others / world_size;
    return cost;
  }
  std::int64_t received_nodes = 0;
  for (int r = 0; r < world_size; ++r) {
    if (r != rank)
      received_nodes +=
          static_cast<std::int64_t>(cover(split(all, world_size, r), options.num_leaves).size());
  }
  std::int64_t longest = 0;
  for (const Bucket& bucket : options.buckets)
    longest = std::max(longest, bucket.end - bucket.begin);
  cost.buffer_bytes +=
      longest / world_size * received_nodes * static_cast<std::int64_t>(sizeof(float));
  const auto own_nodes = static_cast<std::int64_t>(cover(mine, options.num_leaves).size());
  cost.sent_bytes = flat_bytes * others / world_size * (own_nodes + 1);
  return cost;
}

}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#include "ddp/cost.h"

#include "ddp/cross_rank.h"
#include "ddp/leaf_tree.h"
#include "ddp/local_sums.h"

namespace dlt::ddp {

Cost planned_cost(const ReducerOptions& options, int world_size, int rank) {
  const std::int64_t flat_bytes = options.total * static_cast<std::int64_t>(sizeof(float));
  const LeafDivision division = options.division(world_size);
  const LeafRange mine = division.of(rank);
  Cost cost;
  for (int worker = 0; worker < options.num_workers; ++worker) {
    const WorkerPlan plan =
        plan_worker(split(mine, options.num_workers, worker), options.num_leaves);
    cost.buffer_bytes += plan.num_buffers * buffer_stride_bytes(options.total);
  }
  if (mine.size() == 0) cost.buffer_bytes += flat_bytes;
  if (world_size == 1) return cost;
  if (options.reduction == Reduction::fast) {
    cost.sent_bytes = 2 * flat_bytes * (world_size - 1) / world_size;
    return cost;
  }
  const CrossRankPlan plan(division);
  cost.buffer_bytes += plan.received_bytes(options.buckets, rank);
  for (const Bucket& bucket : options.buckets) cost.sent_bytes += plan.sent_bytes(bucket, rank);
  return cost;
}

}  // namespace dlt::ddp

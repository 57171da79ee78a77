// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "autodiff/executor.h"
#include "base/clock.h"
#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/link_probe.h"
#include "ddp/shard_plan.h"
#include "observe/events.h"
#include "optim/shard.h"
#include "train/run_config.h"

namespace dlt::train {

/// How gradients, and with train.shard parameters, move between the ranks. The same on all of them.
struct CommPlan {
  std::vector<ddp::Bucket> buckets;
  std::optional<ddp::ShardPlan> shards;  // none with one rank
  std::optional<ddp::Link> link;         // what was probed
  /// What a rank updates; none if every rank updates all.
  [[nodiscard]] std::optional<optim::Shard> shard_of(int rank) const;
  /// For the event run_start.
  void describe(observe::Fields& fields) const;
};

/// The buckets of comm.bucket_mb: auto, for a link of that speed.
[[nodiscard]] std::vector<ddp::Bucket> buckets_for_link(const RunConfig& config,
                                                        const autodiff::Program& program,
                                                        const ddp::Link& link);

/// Probes the link where comm.bucket_mb is auto and there are several ranks. Collective.
[[nodiscard]] CommPlan plan_communication(const RunConfig& config, const autodiff::Program& program,
                                          comm::Communicator& comm, const Clock& clock);
/// The same for ranks that are only supposed: buckets of fixed sizes where they would be probed
/// for.
[[nodiscard]] CommPlan suppose_communication(const RunConfig& config,
                                             const autodiff::Program& program, int world_size);

}  // namespace dlt::train

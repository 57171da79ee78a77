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

/// Whether buckets are cut for the link: comm.bucket_mb is auto, and there are several ranks.
[[nodiscard]] bool cuts_for_link(const RunConfig& config, const autodiff::Program& program,
                                 int world_size);
/// Probes the link if buckets are cut for it. Collective.
[[nodiscard]] CommPlan plan_communication(const RunConfig& config, const autodiff::Program& program,
                                          comm::Communicator& comm, const Clock& clock);
/// The same for ranks that are only supposed: buckets of fixed sizes where they would be cut for
/// the link and none is given.
[[nodiscard]] CommPlan suppose_communication(const RunConfig& config,
                                             const autodiff::Program& program, int world_size,
                                             const std::optional<ddp::Link>& link = {});

}  // namespace dlt::train

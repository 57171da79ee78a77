// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "ddp/shard_plan.h"

namespace dlt::ddp {

/// Turns every rank's slices of a flat buffer into the whole of it on all ranks. Allocates in the
/// constructor only.
class ShardGather {
 public:
  /// plan must outlive this.
  ShardGather(const ShardPlan& plan, int rank);
  /// One bucket of `flat`. Collective.
  void run(comm::Communicator& comm, float* flat, std::size_t bucket);
  /// The parts of some ranges of `flat` that lie in any slice: each goes from its owner to all
  /// others. Collective; the ranges are the same on all ranks.
  void run(comm::Communicator& comm, float* flat, std::span<const Bucket> ranges);

 private:
  void add(float* flat, const Bucket& range, int owner);
  void exchange(comm::Communicator& comm);

  const ShardPlan* plan_;
  int rank_;
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
};

}  // namespace dlt::ddp

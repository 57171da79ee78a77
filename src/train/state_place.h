// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "autodiff/planner.h"
#include "comm/communicator.h"
#include "tensor/backend.h"
#include "train/comm_plan.h"
#include "train/model_state.h"
#include "train/run_config.h"

namespace dlt::train {

/// Whether ranks on these hosts will share one replica a host, if there is memory to share: not
/// where each updates by itself, nor with shards whose parameters come from other hosts.
[[nodiscard]] bool wants_shared_replica(const RunConfig& config, const comm::Hosts& hosts);

/// What else of a job is to find room in the hosts' shared memory, and comes first.
enum class SharedRoom : std::uint8_t { gradients, gradients_and_snapshots };

/// Decides where this rank's state lies: extras.shard and extras.host. Collective.
void place_state(const RunConfig& config, const autodiff::Program& program, const CommPlan& plan,
                 const tensor::Backend& device, comm::Communicator& comm, SharedRoom room,
                 StateExtras& extras);

}  // namespace dlt::train

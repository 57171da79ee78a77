// SPDX-License-Identifier: Apache-2.0
#include "train/state_place.h"

#include "base/cpu.h"
#include "train/memory_snapshots.h"

namespace dlt::train {

bool wants_shared_replica(const RunConfig& config, const comm::Hosts& hosts) {
  return config.shared_replica && comm::any_host_of_several(hosts) && config.sync_every == 1 &&
         (config.shard == Sharding::none || hosts.size() == 1);
}

void place_state(const RunConfig& config, const autodiff::Program& program, const CommPlan& plan,
                 const tensor::Backend& device, comm::Communicator& comm, SharedRoom room,
                 StateExtras& extras) {
  extras.shard = plan.shard_of(comm.rank());
  if (!device.in_host_memory() || !wants_shared_replica(config, comm.hosts())) return;
  const tensor::FlatLayout& layout = program.layout();
  const std::int64_t flat_bytes = layout.total * static_cast<std::int64_t>(sizeof(float));
  // Two sums a block; the last block of a parameter may be a short one.
  const std::int64_t most_blocks =
      layout.total / tensor::kBlockElements + static_cast<std::int64_t>(layout.entries.size());
  ddp::HostReplica::Sizes sizes{.num_elements = layout.total,
                                .num_buffers = num_shared_buffers(extras, *config.optimizer),
                                .num_sums = 2 * most_blocks};
  // What gains more by lying there, or survives there what nothing else does.
  constexpr std::int64_t kGradient_buffers = 3;
  if (config.shard != Sharding::gradients) sizes.room_bytes += kGradient_buffers * flat_bytes;
  if (room == SharedRoom::gradients_and_snapshots && config.checkpoint.ram_every_steps != 0) {
    const auto num_states = static_cast<std::int64_t>(config.optimizer->state_names().size());
    const std::int64_t state_bytes =
        flat_bytes * (1 + num_states + (config.averaging.active() ? 1 : 0));
    sizes.room_bytes += kNum_slots * state_bytes / comm.local_size();
  }
  extras.host = ddp::HostReplica::share(
      comm, sizes,
      {.timeout_s = config.fault.hang_timeout_s, .crowded = comm.local_size() > online_cores()});
}

}  // namespace dlt::train

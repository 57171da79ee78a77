// SPDX-License-Identifier: Apache-2.0
#include "launcher/surroundings.h"

#include "launcher/version.h"
#include "ops/ops.h"

namespace dlt::launcher {

RealSurroundings::RealSurroundings()
    : table_(ops::make_op_table()), backend_(tensor::make_cpu_backend()) {}

train::Surroundings RealSurroundings::get(const RankEnv& ranks, observe::Pulse& pulse) {
  devices_ = std::make_unique<train::Devices>(
      *backend_, train::LocalRank{.rank = ranks.local_rank, .size = ranks.local_size});
  return {
      .table = table_,
      .backend = *backend_,
      .fs = fs_,
      .clock = clock_,
      .host = ranks.host,
      .program_version = program_version(),
      .program_hash = program_hash(),
      .pulse = pulse,
      .generation = ranks.supervision ? ranks.supervision->generation : 0,
      .skip_steps = ranks.supervision ? ranks.supervision->skip_steps : std::vector<std::int64_t>{},
      .so_far = ranks.supervision ? ranks.supervision->so_far : RunSoFar{},
      .memory_dir = ranks.supervision ? ranks.supervision->memory_dir : std::string{},
      .devices = devices_.get()};
}

}  // namespace dlt::launcher

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "comm/communicator.h"
#include "train/memory_snapshots.h"

namespace dlt::train {

struct RecoveryOptions {
  std::string memory_dir;          // of this host; may not be there
  std::string config_fingerprint;  // snapshots of another configuration are passed over
  std::int64_t beyond_step = -1;   // what is there anyway: only a later state is of interest
};

/// A state that was found in memory.
struct Recovered {
  checkpoint::Checkpoint state;
  SnapshotPlace place;
};

/// The newest snapshot whose parts verify and make up the whole, on whatever hosts they lie: each
/// rank reads its share of what its host has, the ranks agree, and all get what they lack. What
/// does not verify is passed over, with a warning on the rank that saw it. The same on all ranks.
/// Collective.
[[nodiscard]] std::optional<Recovered> recover_from_memory(comm::Communicator& comm,
                                                           const RecoveryOptions& options,
                                                           std::vector<std::string>& warnings);

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/node.h"

namespace dlt::train {

enum class BestMode : std::uint8_t { max, min };

/// The evaluation whose checkpoint stays.
struct BestRule {
  std::string metric;  // a name among the values of an evaluation
  BestMode mode = BestMode::max;
  [[nodiscard]] bool better(double value, double than) const {
    return mode == BestMode::max ? value > than : value < than;
  }
};

/// The section `checkpoint`.
struct CheckpointOptions {
  std::int64_t every_steps = 0;  // 0: only at the end
  bool automatic = false;        // every_steps: auto
  double every_s = 0;            // 0: not by the clock
  int keep = 3;
  std::int64_t keep_every = 0;
  std::optional<BestRule> best = {};
  std::optional<std::int64_t> ram_every_steps = {};  // of snapshots in memory; none: auto, 0: never
};

/// errors  reported to the section's diagnostics
[[nodiscard]] CheckpointOptions read_checkpoint_options(config::MapReader checkpoint);

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "config/node.h"

namespace dlt::config {

/// The section `fault`: read by the supervisor and, so that one file serves both, by the ranks.
struct FaultOptions {
  double hang_timeout_s = 30;     // longest silence of a rank within a step
  std::int64_t max_restarts = 5;  // without progress between them
  double backoff_s = 1;           // before the first restart without progress; doubles up to 60
  std::int64_t min_ranks = 1;     // fewer are not started
  double heartbeat_s = 0.5;       // between two signs of life
  std::string control_host = "127.0.0.1";
  int control_port = 0;      // 0: a free one
  bool control_set = false;  // the file names the address
  double mtbf_s = 0;  // mean time between failures, for checkpoint.every_steps: auto; 0: as seen
  bool skip_poison = false;  // poison: skip. A step that kills its rank twice makes no update
};

/// errors  reported to the section's diagnostics
[[nodiscard]] FaultOptions read_fault(MapReader fault);

}  // namespace dlt::config

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "launcher/supervise/event.h"
#include "launcher/supervise/rank_view.h"

namespace dlt::supervise {

/// What a generation ended with, other than a fault.
struct Ending {
  Exit exit = Exit::ok;
  std::int32_t rank = -1;  // whose code it is; -1: the ranks' together, or the starter's
  bool starter = false;    // the starter failed before any rank spoke
};

/// What has happened in this run so far.
struct History {
  bool ever_spoke = false;    // a rank, in any generation
  bool ever_stepped = false;  // began a step, in any generation
};

/// Codes that another try would only end with again: 64 to 66, 77, 78, 80.
[[nodiscard]] bool never_retried(Exit exit);

/// The ending, where the ranks' words and codes say that there is nothing to restart: all said
/// farewell; a code that is never retried; 74; 75; before the run's first step 69; a starter that
/// cannot start anything. Nothing: a fault.
[[nodiscard]] std::optional<Ending> ending(const std::vector<RankView>& ranks,
                                           const std::optional<JobEnded>& job,
                                           const History& history);

/// "bad content of data or checkpoint", ...: as CONTRACT.md has it
[[nodiscard]] const char* meaning(Exit exit);

}  // namespace dlt::supervise

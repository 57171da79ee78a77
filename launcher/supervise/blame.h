// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/supervise/event.h"
#include "launcher/supervise/fault.h"
#include "launcher/supervise/rank_view.h"

namespace dlt::supervise {

/// All that was found out about a fault. Times are those of the supervision.
struct Evidence {
  std::vector<RankView> ranks;  // of the generation, as the control channel told
  bool silence = false;         // it began with silence: nobody was known to have ended
  double noticed_s = 0;         // when it was seen that something is wrong
  double read_s = 0;            // when the findings came
  std::optional<JobEnded> job;
  std::vector<std::string> hosts;                    // that ranks were placed on
  std::optional<std::vector<std::string>> hosts_up;  // of these, if they were looked at
  std::vector<RankFinding> findings;                 // at most one a rank
  std::vector<OutOfMemory> out_of_memory;            // since the launch
};

/// Takes newer marks over from the flight rings: what the control channel had no time to tell.
void take_findings(Evidence& evidence);

/// Hosts that did not answer, while others did. (If none does, it is the look that fails.)
[[nodiscard]] std::vector<std::string> hosts_down(const Evidence& evidence);

/// Who failed first. The first to end by itself; what ends within moments after it, by the
/// starter's signals or with Exit::peer_lost, is a consequence. Where nobody ended, who did not
/// come: a host that does not answer; a stopped process; the least progress of those that do not
/// wait for others.
[[nodiscard]] Fault blame(const Evidence& evidence);

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
// What is read about ranks after a fault.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "launcher/supervise/event.h"

namespace dlt::supervise {

/// The last lines of a rank's log, fit to print.
[[nodiscard]] std::vector<std::string> last_log_lines(const std::string& run_dir,
                                                      std::int32_t rank);

/// Ring and process of a rank on this machine. pid 0: not known.
[[nodiscard]] RankFinding find_here(const std::string& memory_dir, std::int32_t rank, pid_t pid,
                                    const Clock& clock);

/// A script for another host that prints the same of these ranks, and what it printed as findings;
/// a text that makes no sense gives fewer findings.
[[nodiscard]] std::string findings_script(const std::string& memory_dir,
                                          const std::map<std::int32_t, std::int64_t>& pids);
[[nodiscard]] std::vector<RankFinding> parse_findings(std::string_view text);

}  // namespace dlt::supervise

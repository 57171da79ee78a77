// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "observe/pulse.h"

namespace dlt::supervise {

/// As `kind` of the event `fault` has it.
enum class FaultKind : std::uint8_t {
  death,          // a rank's process ended
  hang,           // a rank does nothing
  host_lost,      // a host, and the job with it
  partition,      // the job may live, but dlrun hears nothing of a part of it
  out_of_memory,  // the kernel killed a rank
  disk_full,      // the state could not be written
  crash_loop,     // the same rank in the same step again, without progress
  desync          // ranks wait for each other at different steps
};
inline constexpr std::array<std::string_view, 8> kFaultKindNames{
    "death",         "hang",      "host_lost",  "partition",
    "out_of_memory", "disk_full", "crash_loop", "desync"};
[[nodiscard]] constexpr std::string_view name(FaultKind kind) {
  return kFaultKindNames[static_cast<std::size_t>(kind)];
}

/// Who failed first, and how.
struct Fault {
  FaultKind kind = FaultKind::death;
  std::int32_t rank = -1;  // -1: a host, or nobody knows
  std::string host;
  std::int64_t pid = 0;  // 0: not known
  observe::Mark mark;
  bool marked = false;           // the rank made a mark
  std::optional<int> signal;     // that ended the rank
  std::optional<int> exit_code;  // with which it ended
  std::optional<Exit> said;      // by itself
  std::string text;              // its own last words
  std::string file;              // that mark.row belongs to
  bool stopped = false;          // its process is stopped (SIGSTOP, a debugger)
  bool connected_once = false;   // it spoke
  double silent_s = 0;           // from its last sign of life until the fault was noticed
  std::vector<std::string> log_lines;
  std::vector<std::string> hosts;  // of host_lost and partition: all of them
};

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
// What the supervisor is told: facts, each by whoever saw it first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "launcher/control/messages.h"
#include "observe/flight_ring.h"

namespace dlt::supervise {

/// A rank said something. Messages of other generations may be passed on; they have no effect.
struct Heard {
  std::int32_t rank = 0;
  std::int64_t generation = 0;
  launcher::FromRank message;
};

/// A rank's connection is gone and no newer one has taken its place.
struct Disconnected {
  std::int32_t rank = 0;
  std::int64_t generation = 0;
};

/// A rank's process is gone. How it ended its parent knows, which dlrun is not.
struct ProcessGone {
  std::int32_t rank = 0;
  std::int64_t generation = 0;
};

/// The starter itself ended. A code of 128 + s is that of a rank which signal s ended.
struct JobEnded {
  std::int64_t generation = 0;
  int exit_code = 0;                    // signal != 0: of no meaning
  int signal = 0;                       // that ended the starter
  std::vector<std::string> last_lines;  // that it and the ranks wrote to stderr
};

/// Answer to KillJob: no process of this generation is left, nor what it leaves behind, but for
/// hosts that could not be reached.
struct Swept {
  std::int64_t generation = 0;
  std::vector<std::string> unreachable;
};

/// Somebody wants the run to stop. A second one with SIGINT kills at once.
struct StopAsked {
  launcher::Stop::Reason reason = launcher::Stop::Reason::signal;
  double grace_s = 0;  // until the job is killed from outside; 0: not known
  int signal = 0;      // that asked; 0: none did
};

/// Answer to CheckHosts: those that answered.
struct HostsChecked {
  std::vector<std::string> up;
};

/// Answer to CollectStacks: the stacks are in the ranks' logs.
struct StacksCollected {
  std::int64_t generation = 0;
};

/// What is known about a rank's process after a fault.
struct RankFinding {
  std::int32_t rank = 0;
  std::optional<observe::RingContents> ring;
  double read_mono_s = 0;    // by the clock of the ring's host
  char process_state = ' ';  // as in /proc/PID/stat (R, S, D, T, Z); X: gone; ' ': not known
  std::vector<std::string> log_lines;  // the last of its log
};

/// Answer to ReadRings.
struct RingsRead {
  std::int64_t generation = 0;
  std::vector<RankFinding> ranks;  // those that could be read, in any order
};

/// The memory cgroup's oom_kill counter rose. rank -1: the kernel does not say whom.
struct OutOfMemory {
  std::string host;
  std::int32_t rank = -1;
};

/// Time has come: next_deadline_s() is reached.
struct Tick {};

using Event = std::variant<Heard, Disconnected, ProcessGone, JobEnded, Swept, StopAsked,
                           HostsChecked, StacksCollected, RingsRead, OutOfMemory, Tick>;

}  // namespace dlt::supervise

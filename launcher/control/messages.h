// SPDX-License-Identifier: Apache-2.0
// What ranks and dlrun tell each other once a connection is authenticated; bytes: frame.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "base/error.h"
#include "observe/pulse.h"

namespace dlt::launcher {

/// First message of a rank, and again after it connected anew.
struct Hello {
  std::int32_t rank = 0, world_size = 1, local_rank = 0;  // world_size 0: not known to the rank
  std::int64_t pid = 0;
  std::int64_t generation = 0;
  std::string host;  // as the rank sees it, at most 255 bytes
};

/// The newest mark of a rank; sent by the code that made it, at most once in fault.heartbeat_ms,
/// or in 50 ms where the step changed. A mark held back is sent once by the client's thread if no
/// other one follows, with the time at which it was made.
struct Beat {
  observe::Mark mark;
  double mono_s = 0;                // the rank's monotonic clock
  std::int64_t marks = 0;           // made so far: more marks are progress, whatever they say
  std::int64_t steps_per_save = 0;  // of memory snapshots; 0: none are made
  // So far by the rank's clock; the time up to the next mark belongs to the last mark's phase.
  std::array<float, observe::kPhaseNames.size()> phase_s{};
};

/// A state that the run can go on from is complete on this rank.
struct Saved {
  observe::SavedIn where = observe::SavedIn::disk;
  std::int64_t step = 0;
};

/// A rank ends because of a failure of its own, or one that the ranks agreed on.
struct Failed {
  Exit exit = Exit::internal;
  std::int32_t origin_rank = -1;  // who failed, if the ranks agreed on it; -1: this rank
  std::string text;               // as printed, at most 4,000 bytes
};

/// Last message of a rank that ends as it should.
struct Bye {
  Exit exit = Exit::ok;
};

using FromRank = std::variant<Hello, Beat, Saved, Failed, Bye>;

/// dlrun is there: answers each beat, so that a rank that hears nothing knows that it is cut off.
struct Alive {
  double silent_s = 0;  // how long dlrun's own loop stood still before this
};

/// Finish the step, save, exit 75.
struct Stop {
  enum class Reason : std::uint8_t { signal, time_limit, more_hosts };
  Reason reason = Reason::signal;
  double grace_s = 0;  // until the job is killed; 0: not known
};

using FromLauncher = std::variant<Alive, Stop>;

}  // namespace dlt::launcher

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "launcher/supervise/fault.h"
#include "observe/pulse.h"

namespace dlt::supervise {

/// What happens after a fault.
struct Outlook {
  std::int64_t generation = 0;  // in which it happened
  std::int32_t of_ranks = 0;    // the job had
  std::optional<Exit> ends;     // no restart: the code of dlrun
  std::string why;              // it ends, as half a sentence; may be empty
  std::int32_t ranks = 0;       // of the next generation
  std::int64_t from_step = 0;
  std::optional<observe::SavedIn> from;  // unset: nothing was saved
  double backoff_s = 0;
  std::int64_t used = 0;  // restarts without progress, of
  std::int64_t budget = 0;
  std::optional<std::int64_t> skip_step;
  bool awaits_hosts = false;  // fewer ranks than the least can be placed at the moment
};

/// One text for people, of a few lines: who failed first, in what phase of what step, on which file
/// and row, how, the last lines of that rank's log, what happens next. Whatever comes from outside
/// is cut and escaped.
[[nodiscard]] std::string verdict(const Fault& fault, const Outlook& outlook);

/// "rank 2 on node-b (process 4711)", "host node-b", "the job".
[[nodiscard]] std::string culprit(const Fault& fault);

}  // namespace dlt::supervise

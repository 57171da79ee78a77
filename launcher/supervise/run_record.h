// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dlt::supervise {

/// What a drill needs of a line of events.jsonl.
struct RunEvent {
  std::string kind;  // "step", "fault", ...
  double mono_s = 0;
  std::int64_t generation = 0;
  std::int64_t step = -1;       // of step
  std::int64_t from_step = -1;  // of restart
};

/// Lines that are not (yet) whole are passed over. Empty if there is no such file.
[[nodiscard]] std::vector<RunEvent> read_events(const std::string& run_dir);

/// What became of a fault that was made at a certain time; of none if it had no consequence.
struct Recovery {
  double detected_s = 0;          // to dlrun's event
  std::optional<double> again_s;  // to the first step of the next generation
  std::int64_t steps_lost = 0;    // that were made before and are made again
};
[[nodiscard]] std::optional<Recovery> recovery_from(const std::vector<RunEvent>& events,
                                                    double injected_s);

/// The weights hash of a run that ended, "" if it has not.
[[nodiscard]] std::string hash_of_run(const std::string& run_dir);

}  // namespace dlt::supervise

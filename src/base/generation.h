// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/fs.h"

namespace dlt {

/// The number of a run's newest start under dlrun, in RUN/generation: dlrun raises it before it
/// starts ranks, and a rank whose own number is lower may write no more. 0: never started by dlrun.
/// errors  Error(Exit::data) if the file holds anything else than a number
[[nodiscard]] std::int64_t read_generation(const std::string& run_dir);
/// errors  Error(Exit::io)
void write_generation(Fs& fs, const std::string& run_dir, std::int64_t generation);
/// errors  Error(Exit::peer_lost) if a later generation has started
void require_newest_generation(const std::string& run_dir, std::int64_t generation);

/// RUN/lock, held by the one process that writes the run's checkpoints and events, or
/// RUN/dlrun.lock, held by the one dlrun that starts the run's ranks. The system releases it when
/// the process ends, in whatever way.
class RunLock {
 public:
  /// Waits up to timeout_s for another holder to go.
  /// errors  Error(Exit::unavailable) naming the holder's process and host
  RunLock(const std::string& run_dir, double timeout_s, const std::string& name = "lock");
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

/// What became of a job's earlier generations.
struct RunSoFar {
  std::int64_t restarts = 0;
  std::int64_t steps_lost = 0;           // made again so far
  std::int64_t furthest_step = 0;        // that any generation made
  double elapsed_s = 0, stepping_s = 0;  // since the job's first start, and of them spent on steps
};

}  // namespace dlt

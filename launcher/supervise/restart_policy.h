// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "config/fault_options.h"
#include "launcher/supervise/fault.h"

namespace dlt::supervise {

/// How far a run has come, over all generations.
struct Progress {
  std::int64_t committed_step = -1;  // newest state that a restart could go on from; -1: none
  std::int64_t furthest_step = -1;   // that a rank has begun; -1: none
};

/// After each fault: again, or no more, and after how long.
class RestartPolicy {
 public:
  static constexpr double kLongestBackoff_s = 60;

  /// begin: where the run stands before its first start.
  explicit RestartPolicy(const config::FaultOptions& fault, const Progress& begin = {})
      : fault_(fault), before_(begin) {}

  struct Choice {
    bool restart = false;
    bool crash_loop = false;                // the same rank failed in the same step again
    std::optional<std::int64_t> skip_step;  // that makes no update from now on
    double backoff_s = 0;
  };
  /// Progress is a committed step, or a step, beyond what was there at the fault before.
  [[nodiscard]] Choice choose(const Fault& fault, const Progress& progress);

  /// Faults since there was progress, the last one included.
  [[nodiscard]] std::int64_t without_progress() const { return without_progress_; }
  /// Ascending.
  [[nodiscard]] const std::vector<std::int64_t>& skip_steps() const { return skip_steps_; }

 private:
  [[nodiscard]] bool repeats(const Fault& fault) const;

  config::FaultOptions fault_;
  Progress before_;
  std::optional<Fault> last_;
  std::int64_t without_progress_ = 0;
  std::vector<std::int64_t> skip_steps_;
};

}  // namespace dlt::supervise

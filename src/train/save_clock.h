// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::train {

/// When to save by the clock: every so many seconds, or as often as costs the least in the long
/// run.
struct SaveClockOptions {
  double every_s = 0;      // checkpoint.every_seconds; 0: not by seconds
  bool automatic = false;  // checkpoint.every_steps: auto
  double mtbf_s = 0;       // mean time between failures
};

/// The interval between saves that loses the least time, to saving or to failures.
/// source  Young 1974, "A first order approximation to the optimum checkpoint interval"; Daly 2006
///         gives the same to first order: sqrt(2·cost·MTBF)
[[nodiscard]] double best_interval_s(double cost_s, double mtbf_s);

/// Mean time between failures of a run that began so long ago and was started again so often.
/// Without a failure yet: a day.
[[nodiscard]] double observed_mtbf_s(double age_s, std::int64_t restarts);

/// Decides on rank 0 alone; the others hear of it in the step's control word.
class SaveClock {
 public:
  SaveClock(const SaveClockOptions& options, double now_s);
  /// A save began.
  void saved(double now_s) { last_s_ = now_s; }
  /// What a save has cost: the steps' stall, and the time it took to be there.
  void measured(double stall_s, double persist_s);
  [[nodiscard]] bool due(double now_s) const;
  /// Seconds between saves just now; 0: not by the clock.
  [[nodiscard]] double interval_s() const;

 private:
  SaveClockOptions options_;
  double last_s_;
  double cost_s_;
  double persist_s_ = 0;
};

}  // namespace dlt::train

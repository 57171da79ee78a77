// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "observe/pulse.h"

namespace dlt::supervise {

/// Silence that is allowed before anything is known about a run, in seconds.
struct Allowances {
  double step_s = 30;  // within a step, at most: fault.hang_timeout_s
  double heartbeat_s = 0.5;
  double start_s = 120;
  double checkpoint_s = 120;
  double eval_s = 120;
  double end_s = 30;
};

/// How long a rank may be silent in a phase: learnt from how long this run's ranks were. Within a
/// step the allowance falls from step_s to a multiple of the longest silence seen; elsewhere it
/// rises with what was seen.
class PhaseTimes {
 public:
  static constexpr double kStepFloor_s = 10;  // what file systems and machines may take
  static constexpr double kStepFactor = 8;    // over the longest silence within a step
  static constexpr double kElsewhereFactor = 3;
  static constexpr std::int64_t kEnough = 20;  // silences within steps, before they count

  explicit PhaseTimes(const Allowances& allowances) : allowances_(allowances) {}
  /// A rank was silent for so long after a mark of this phase, and then went on.
  void seen(observe::Phase phase, double silence_s);
  /// Somebody was taken for hung within a step. In case that was wrong, step_s holds from now on.
  void took_for_hung() { cautious_ = true; }
  [[nodiscard]] double allowed_s(observe::Phase phase) const;

 private:
  enum Kind : std::uint8_t { start, step, checkpoint, eval, end, num_kinds };
  [[nodiscard]] static Kind kind(observe::Phase phase);

  Allowances allowances_;
  std::array<double, num_kinds> longest_s_{};
  std::int64_t num_step_silences_ = 0;
  bool cautious_ = false;
};

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "launcher/control/messages.h"
#include "observe/pulse.h"

namespace dlt::supervise {

struct Straggler {
  std::int32_t rank = 0;
  double ratio = 1;                             // its own time over the median of the other ranks'
  observe::Phase phase = observe::Phase::data;  // that costs most of the difference
};

/// Finds ranks whose own work (data, forward, backward, update; not the waiting in reduce) takes
/// much longer than that of the others, by the phase times in their beats.
class Stragglers {
 public:
  static constexpr double kWindow_s = 10;
  static constexpr std::int64_t kLeastSteps = 4;  // of a window; it grows until it has them
  static constexpr double kSlow = 1.5;            // twice in a row: a straggler ...
  static constexpr double kOrdinary = 1.2;        // ... until it is below this
  static constexpr double kLeastShare = 0.05;     // of the window; less is no work to speak of

  /// For a new generation.
  void reset(std::int32_t num_ranks);
  /// Ranks that have become stragglers; each is told once.
  [[nodiscard]] std::vector<Straggler> heard(double now_s, std::int32_t rank,
                                             const launcher::Beat& beat);

 private:
  struct Rank {
    launcher::Beat begin, last;
    bool heard = false;
    int slow_windows = 0;
    bool told = false;
  };
  [[nodiscard]] bool window_full(double now_s) const;
  [[nodiscard]] std::vector<Straggler> close_window(double now_s);

  std::vector<Rank> ranks_;
  double begin_s_ = 0;
  std::int32_t num_heard_ = 0;
};

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "base/error.h"
#include "launcher/control/messages.h"
#include "observe/pulse.h"

namespace dlt::supervise {

/// What is known about a rank of the generation at hand. Times are those of the supervision; never
/// is infinity.
struct RankView {
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  std::string host;  // where it was placed, or as it says itself
  std::int64_t pid = 0;
  bool spoke = false;      // Hello came
  bool connected = false;  // and the connection is there
  bool stepped = false;    // it is through its start
  observe::Mark mark;      // newest
  std::int64_t marks = 0;
  double rank_clock_s = 0;  // of the newest beat
  double moved_s = 0;       // when its newest mark came, or the launch
  double silent_s = 0;      // since then, when a fault was noticed
  bool overdue = false;     // it is silent for longer than is allowed, and nobody else is to blame

  std::optional<launcher::Failed> failed;  // its own last words
  double failed_at_s = kNever;
  std::optional<Exit> bye;
  double gone_at_s = kNever;  // its process is gone, or its connection and the job
  double cut_at_s = kNever;   // its connection is gone

  std::int64_t memory_step = -1;  // of its newest snapshot; -1: none

  [[nodiscard]] bool gone() const { return gone_at_s != kNever; }
  /// It waits for others: whoever they wait for is to blame, not they.
  [[nodiscard]] bool waits() const { return mark.phase == observe::Phase::reduce; }
};

}  // namespace dlt::supervise

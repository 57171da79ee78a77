// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ddp/leaf_tree.h"

namespace dlt::ddp {

/// Seconds a rank would need for so many leaves: its threads run one each at a time.
struct RankSpeed {
  double round_s = 0;  // for one leaf on each of its threads
  int workers = 1;     // threads that run leaves
  [[nodiscard]] double time_s(int leaves) const {
    return round_s * static_cast<double>((leaves + workers - 1) / workers);
  }
};

/// Leaves of each rank, at least one, that make the slowest rank as fast as can be; of equal
/// choices the lower ranks have more. Pure.
[[nodiscard]] std::vector<int> best_leaves(std::span<const RankSpeed> speeds, int num_leaves);

/// Decides from the ranks' compute times when leaves move. A function of what note() was told
/// alone, so ranks that are told the same decide the same. Looks at medians of a window of steps;
/// moves only what two windows in a row want moved, half of the leaves at a time, and only if the
/// step becomes at least 5 % shorter and the steps that are left win back twice what moving costs.
/// Each move doubles the window, up to 256 steps, so that ranks of changing speeds do not hand
/// leaves to and fro.
class Balancer {
 public:
  struct Options {
    LeafDivision division;
    std::vector<int> workers;  // of each rank
  };
  explicit Balancer(Options options);
  /// The last move took so long (the same number on all ranks).
  void set_move_cost(double seconds) { move_cost_s_ = seconds; }
  /// A step's compute seconds of each rank, and how many steps are left behind it. Returns the new
  /// division if leaves are to move before the next step; it counts as made.
  [[nodiscard]] std::optional<LeafDivision> note(std::span<const double> compute_s,
                                                 std::int64_t steps_left);
  [[nodiscard]] const LeafDivision& division() const { return options_.division; }

 private:
  [[nodiscard]] std::vector<RankSpeed> speeds() const;
  [[nodiscard]] std::optional<LeafDivision> decide(std::int64_t steps_left);
  void restart();

  Options options_;
  std::vector<std::vector<double>> samples_;  // of each rank, in this window
  int window_steps_;
  int steps_to_skip_ = 0;
  bool wanted_ = false;  // the last window wanted a move
  double move_cost_s_ = 0;
};

}  // namespace dlt::ddp

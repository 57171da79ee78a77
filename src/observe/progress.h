// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace dlt::observe {

struct ProgressState {
  std::int64_t step = 0;
  std::int64_t num_steps = 0;
  std::int64_t epoch = 0;       // counted from 0; shown from 1
  std::int64_t num_epochs = 0;  // 0: the run is counted in steps
  double samples_per_s = 0;
  std::vector<std::pair<std::string, double>> values;  // loss, metrics: shown in this order
};

enum class ProgressStyle : std::uint8_t { terminal, plain, quiet };

/// A progress line on stderr: rewritten in place on a terminal (at most 10 times a second, and once
/// for the last step), one plain line an interval elsewhere, e.g. "epoch 3/20  step 70/460  loss
/// 0.4312  accuracy 0.871  12.3k samples/s  4 s to go"
class Progress {
 public:
  Progress(ProgressStyle style, const Clock& clock, double plain_interval_s = 2.0);
  /// Meant to be called every step: looks at the clock and does nothing more unless a line is due.
  void update(const ProgressState& state);
  /// A whole line of its own, above the progress line: the result of an evaluation, a warning.
  void line(const std::string& text);
  void finish();
  /// The text of a state, for update() and for tests.
  [[nodiscard]] std::string format(const ProgressState& state, double seconds_to_go) const;

 private:
  ProgressStyle style_;
  const Clock* clock_;
  double plain_interval_s_;
  double first_time_ = -1, last_time_ = -1e9;
  std::int64_t first_step_ = 0;
  std::int64_t last_step_ = -1;  // shown last
  std::string shown_;            // the progress line on the terminal
};

[[nodiscard]] bool stderr_is_terminal();

}  // namespace dlt::observe

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace dlt::optim {

enum class PlateauMode : std::uint8_t { min, max };
enum class ThresholdMode : std::uint8_t { rel, abs };

/// Options of `schedule: {name: reduce_on_plateau}`.
struct PlateauConfig {
  std::string monitor = "loss";  // a name among the values of an evaluation
  PlateauMode mode = PlateauMode::min;
  double factor = 0.1;
  std::int64_t patience = 10;
  double threshold = 1e-4;
  ThresholdMode threshold_mode = ThresholdMode::rel;
  std::int64_t cooldown = 0;
  double min_factor = 0;  // of the base learning rate
};

/// What the evaluations so far came to. All ranks see the same values, so all decide alike.
/// source  PyTorch torch.optim.lr_scheduler.ReduceLROnPlateau
struct PlateauState {
  double factor = 1;          // of the learning rate
  double best = 0;            // meaningless before the first value
  double num_better = 0;      // evaluations that were the best so far
  double num_bad = 0;         // in a row without improvement
  double cooldown_left = 0;   // evaluations
  double observed_step = -1;  // steps done at the last evaluation seen

  void observe(const PlateauConfig& config, double value, std::int64_t step);

  static constexpr std::int64_t kSize = 6;
  [[nodiscard]] std::array<double, kSize> values() const {
    return {factor, best, num_better, num_bad, cooldown_left, observed_step};
  }
  static PlateauState of(const double* values) {
    return {values[0], values[1], values[2], values[3], values[4], values[5]};
  }
  friend bool operator==(const PlateauState&, const PlateauState&) = default;
};

}  // namespace dlt::optim

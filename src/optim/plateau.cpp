// SPDX-License-Identifier: Apache-2.0
#include "optim/plateau.h"

#include <algorithm>

namespace dlt::optim {
namespace {

bool is_better(const PlateauConfig& config, double value, double best) {
  const bool rel = config.threshold_mode == ThresholdMode::rel;
  if (config.mode == PlateauMode::min) {
    return value < (rel ? best * (1.0 - config.threshold) : best - config.threshold);
  }
  return value > (rel ? best * (1.0 + config.threshold) : best + config.threshold);
}

}  // namespace

void PlateauState::observe(const PlateauConfig& config, double value, std::int64_t step) {
  observed_step = static_cast<double>(step);
  const bool is_number = value == value;  // NaN is never an improvement
  if (is_number && (num_better == 0 || is_better(config, value, best))) {
    best = value;
    num_better += 1;
    num_bad = 0;
  } else {
    num_bad += 1;
  }
  if (cooldown_left > 0) {
    cooldown_left -= 1;
    num_bad = 0;
  }
  if (num_bad > static_cast<double>(config.patience)) {
    factor = std::max(factor * config.factor, std::min(config.min_factor, factor));
    cooldown_left = static_cast<double>(config.cooldown);
    num_bad = 0;
  }
}

}  // namespace dlt::optim

// SPDX-License-Identifier: Apache-2.0
#include "train/save_clock.h"

#include <algorithm>
#include <cmath>

namespace dlt::train {
namespace {

constexpr double kDay_s = 86400;
constexpr double kFirst_guess_s = 0.05;  // of a save's cost, before there was one
/// Writing beside the steps takes processor time and bandwidth from them, if not all of its own.
constexpr double kShare_of_persist = 0.1;

}  // namespace

double best_interval_s(double cost_s, double mtbf_s) { return std::sqrt(2 * cost_s * mtbf_s); }

double observed_mtbf_s(double age_s, std::int64_t restarts) {
  if (restarts <= 0) return kDay_s;
  return std::max(age_s, 1.0) / static_cast<double>(restarts);
}

SaveClock::SaveClock(const SaveClockOptions& options, double now_s)
    : options_(options), last_s_(now_s), cost_s_(kFirst_guess_s) {}

void SaveClock::measured(double stall_s, double persist_s) {
  cost_s_ = std::max(1e-6, stall_s + kShare_of_persist * persist_s);
  persist_s_ = persist_s;
}

double SaveClock::interval_s() const {
  if (options_.every_s > 0) return options_.every_s;
  if (!options_.automatic) return 0;
  // Never so often that a save waits for the one before.
  return std::max(best_interval_s(cost_s_, options_.mtbf_s), 2 * persist_s_);
}

bool SaveClock::due(double now_s) const {
  const double interval_s = this->interval_s();
  return interval_s > 0 && now_s - last_s_ >= interval_s;
}

}  // namespace dlt::train

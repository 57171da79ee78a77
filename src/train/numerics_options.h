// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "config/node.h"

namespace dlt::train {

/// What follows a step with bad numbers. off and warn: it counts (spikes only).
enum class NumericsAction : std::uint8_t { off, warn, skip, rollback, halt };
[[nodiscard]] std::string_view name(NumericsAction action);

/// The section `numerics`.
struct NumericsOptions {
  NumericsAction on_nonfinite = NumericsAction::halt;  // never off or warn
  NumericsAction on_spike = NumericsAction::off;
  double spike_zscore = 6;         // standard deviations above the mean that make a spike
  std::int64_t spike_window = 50;  // steps that mean and deviation look back on
  std::int64_t max_rollbacks = 3;
  [[nodiscard]] bool rolls_back() const {
    return on_nonfinite == NumericsAction::rollback || on_spike == NumericsAction::rollback;
  }
};

[[nodiscard]] NumericsOptions read_numerics(config::MapReader numerics);

/// Whether a step's update waits for the step's sums, which decide whether it counts.
[[nodiscard]] bool decides_before_update(const NumericsOptions& options);

}  // namespace dlt::train

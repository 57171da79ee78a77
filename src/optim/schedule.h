// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/node.h"

namespace dlt::optim {

enum class ScheduleKind : std::uint8_t { constant, step, cosine, linear };

/// Learning rate as a pure function of the step. Warm-up: (step + 1) / warmup_steps of the full
/// rate while step < warmup_steps; then, with t = (step - warmup_steps) / (total_steps -
/// warmup_steps) in [0, 1]: constant: 1; step: gamma^floor((step - warmup_steps) / step_size);
/// linear: 1 -> end_factor; cosine: end_factor + (1 - end_factor) * (1 + cos(pi t)) / 2.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant;
  std::int64_t warmup_steps = 0;
  std::int64_t step_size = 1;
  double gamma = 0.1;
  double end_factor = 0.0;
};
/// Keys of `schedule:` {name, warmup_steps, step_size, gamma, end_factor}; only those of the named
/// kind are legal. The caller ends with reader.finish().
[[nodiscard]] ScheduleConfig read_schedule(config::MapReader& reader);
/// The whole of `schedule:`: a map, a plain word ("schedule: cosine"), or null for constant.
[[nodiscard]] ScheduleConfig read_schedule(const config::Node* node, const config::Mark& parent,
                                           config::Diagnostics& diagnostics);
/// Factor of the base learning rate at a step (counted from 0).
[[nodiscard]] double schedule_factor(const ScheduleConfig& config, std::int64_t step,
                                     std::int64_t total_steps);

}  // namespace dlt::optim

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/node.h"
#include "optim/plateau.h"

namespace dlt::optim {

enum class ScheduleKind : std::uint8_t {
  constant,
  cosine,
  cosine_restarts,
  exponential,
  inverse_sqrt,
  linear,
  multi_step,
  one_cycle,
  polynomial,
  reduce_on_plateau,
  step,
  warmup_stable_decay,
  chain
};
enum class Anneal : std::uint8_t { cosine, linear, sqrt };

/// Learning rate as a pure function of the step. Warm-up: (step + 1) / warmup_steps of the full
/// rate while step < warmup_steps; then, with past = step - warmup_steps and t = past /
/// (total_steps
/// - warmup_steps) in [0, 1]:
///   constant           1
///   cosine             end_factor + (1 - end_factor)·(1 + cos(pi t)) / 2
///   cosine_restarts    the same over periods of period_steps, each period_factor times as long as
///                      the one before and starting at peak_factor times its rate
///   exponential        gamma^(past / decay_steps)
///   inverse_sqrt       sqrt(timescale / (past + timescale)), timescale = timescale_steps, or
///                      warmup_steps, or 10000
///   linear             1 -> end_factor
///   multi_step         gamma^(number of milestones <= step); milestones are steps of the run
///   polynomial         end_factor + (1 - end_factor)·(1 - t)^power
///   reduce_on_plateau  1 (PlateauState has the factor)
///   step               gamma^floor(past / step_size)
/// one_cycle has its own warm-up: 1 / div_factor -> 1 over pct_start of the run, then down to
/// 1 / (div_factor·final_div_factor). warmup_stable_decay: 1, and over the last decay_steps down to
/// end_factor. chain: each link over its own steps, counted from its start; the last may have none
/// and takes the rest.
/// source  the formulas of PyTorch's lr_scheduler where it has them; Smith & Topin 2018,
///         arXiv:1708.07120 (one_cycle); Hu et al. 2024, arXiv:2404.06395 (warmup_stable_decay);
///         Loshchilov & Hutter 2017, arXiv:1608.03983 (cosine_restarts); Vaswani et al. 2017
///         (inverse_sqrt)
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant;
  std::int64_t warmup_steps = 0;
  std::int64_t step_size = 1;
  double gamma = 0.1;
  double end_factor = 0.0;
  double power = 1.0;
  std::int64_t decay_steps = 1;
  std::int64_t period_steps = 1;
  std::int64_t period_factor = 1;
  double peak_factor = 1.0;
  std::int64_t timescale_steps = 0;  // 0: warmup_steps, or 10000
  std::vector<std::int64_t> milestones = {};
  double pct_start = 0.3;
  double div_factor = 25.0;
  double final_div_factor = 1e4;
  Anneal anneal = Anneal::cosine;
  PlateauConfig plateau = {};
  std::vector<ScheduleConfig> links = {};  // of a chain
  std::int64_t steps = 0;                  // of a link, 0: the rest of the run
};
/// Keys of `schedule:` {name, warmup_steps, ...} or {chain: [...]}; only those of the named kind
/// are legal. The caller ends with reader.finish().
[[nodiscard]] ScheduleConfig read_schedule(config::MapReader& reader);
/// The whole of `schedule:`: a map, a plain word ("schedule: cosine"), or null for constant.
[[nodiscard]] ScheduleConfig read_schedule(const config::Node* node, const config::Mark& parent,
                                           config::Diagnostics& diagnostics);
/// Factor of the base learning rate at a step (counted from 0).
[[nodiscard]] double schedule_factor(const ScheduleConfig& config, std::int64_t step,
                                     std::int64_t total_steps);

}  // namespace dlt::optim

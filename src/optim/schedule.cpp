// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dlt::optim {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

/// 1 at t = 0, end at t = 1.
double cosine(double t, double end) {
  return end + (1.0 - end) * (1.0 + std::cos(std::numbers::pi * t)) / 2.0;
}
double linear(double t, double end) { return 1.0 + t * (end - 1.0); }

double anneal(Anneal kind, double t, double end) {
  switch (kind) {
    case Anneal::cosine:
      return cosine(t, end);
    case Anneal::linear:
      return linear(t, end);
    case Anneal::sqrt:
      return 1.0 - std::sqrt(t) * (1.0 - end);
  }
  return 1.0;
}

double cosine_restarts(const ScheduleConfig& config, std::int64_t past) {
  double peak = 1.0;
  std::int64_t period = config.period_steps;
  if (config.period_factor == 1) {
    peak = std::pow(config.peak_factor, real(past / period));
    past %= period;
  } else {
    // The periods grow at least twofold: few turns for any step.
    for (; past >= period; period *= config.period_factor) {
      past -= period;
      peak *= config.peak_factor;
    }
  }
  return config.end_factor +
         std::max(peak - config.end_factor, 0.0) * cosine(real(past) / real(period), 0.0);
}

double one_cycle(const ScheduleConfig& config, std::int64_t step, std::int64_t total_steps) {
  const double start = 1.0 / config.div_factor;
  const double end = start / config.final_div_factor;
  const double top = config.pct_start * real(total_steps) - 1.0;
  const double last = std::max(real(total_steps) - 1.0, 1.0);
  const double at = std::min(real(step), last);
  if (at <= top && top > 0) {
    const double t = at / top;
    return config.anneal == Anneal::cosine
               ? 1.0 + (start - 1.0) * (1.0 + std::cos(std::numbers::pi * t)) / 2.0
               : start + t * (1.0 - start);
  }
  const double from = std::max(top, 0.0);
  if (last <= from) return 1.0;
  return anneal(config.anneal, (at - from) / (last - from), end);
}

double stable_decay(const ScheduleConfig& config, std::int64_t step, std::int64_t total_steps) {
  const std::int64_t decay = std::min(config.decay_steps, total_steps);
  const std::int64_t into = step - (total_steps - decay);
  if (into <= 0) return 1.0;
  return anneal(config.anneal, std::min(real(into) / real(decay), 1.0), config.end_factor);
}

double chain(const ScheduleConfig& config, std::int64_t step, std::int64_t total_steps) {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < config.links.size(); ++i) {
    const ScheduleConfig& link = config.links[i];
    const std::int64_t steps =
        link.steps > 0 ? link.steps : std::max<std::int64_t>(total_steps - begin, 1);
    if (step < begin + steps || i + 1 == config.links.size()) {
      return schedule_factor(link, step - begin, steps);
    }
    begin += steps;
  }
  return 1.0;
}

double inverse_sqrt(const ScheduleConfig& config, std::int64_t past) {
  constexpr std::int64_t kTimescale = 10000;
  std::int64_t timescale = config.timescale_steps;
  if (timescale == 0) timescale = config.warmup_steps > 0 ? config.warmup_steps : kTimescale;
  return std::sqrt(real(timescale) / real(past + timescale));
}

double multi_step(const ScheduleConfig& config, std::int64_t step) {
  const auto passed = std::count_if(config.milestones.begin(), config.milestones.end(),
                                    [&](std::int64_t at) { return at <= step; });
  return std::pow(config.gamma, real(passed));
}

}  // namespace

double schedule_factor(const ScheduleConfig& config, std::int64_t step, std::int64_t total_steps) {
  if (step < config.warmup_steps) return real(step + 1) / real(config.warmup_steps);
  const std::int64_t past = step - config.warmup_steps;
  const std::int64_t length = std::max<std::int64_t>(total_steps - config.warmup_steps, 1);
  const double t = std::min(real(past) / real(length), 1.0);
  switch (config.kind) {
    case ScheduleKind::constant:
    case ScheduleKind::reduce_on_plateau:
      return 1.0;
    case ScheduleKind::cosine:
      return cosine(t, config.end_factor);
    case ScheduleKind::cosine_restarts:
      return cosine_restarts(config, past);
    case ScheduleKind::exponential:
      return std::pow(config.gamma, real(past) / real(config.decay_steps));
    case ScheduleKind::inverse_sqrt:
      return inverse_sqrt(config, past);
    case ScheduleKind::linear:
      return linear(t, config.end_factor);
    case ScheduleKind::multi_step:
      return multi_step(config, step);
    case ScheduleKind::one_cycle:
      return one_cycle(config, step, total_steps);
    case ScheduleKind::polynomial:
      return config.end_factor + (1.0 - config.end_factor) * std::pow(1.0 - t, config.power);
    case ScheduleKind::step:
      return std::pow(config.gamma, real(past / config.step_size));
    case ScheduleKind::warmup_stable_decay:
      return stable_decay(config, step, total_steps);
    case ScheduleKind::chain:
      return chain(config, step, total_steps);
  }
  return 1.0;
}

}  // namespace dlt::optim

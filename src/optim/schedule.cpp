// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/text.h"

namespace dlt::optim {
namespace {

constexpr std::int64_t kMaxSteps = std::int64_t{1} << 40;

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names{"constant", "cosine", "linear", "step"};
  return names;
}

ScheduleKind kind_of(std::string_view name) {
  if (name == "step") return ScheduleKind::step;
  if (name == "cosine") return ScheduleKind::cosine;
  if (name == "linear") return ScheduleKind::linear;
  return ScheduleKind::constant;
}

}  // namespace

ScheduleConfig read_schedule(config::MapReader& reader) {
  ScheduleConfig result;
  result.kind = kind_of(reader.choice("name", schedule_names(), std::string("constant")));
  result.warmup_steps = reader.integer("warmup_steps", {.min = 0, .max = kMaxSteps}, 0);
  switch (result.kind) {
    case ScheduleKind::constant:
      break;
    case ScheduleKind::step:
      result.step_size = reader.integer("step_size", {.min = 1, .max = kMaxSteps});
      result.gamma = reader.number("gamma", {.min = 0, .max = 1, .min_open = true}, result.gamma);
      break;
    case ScheduleKind::cosine:
    case ScheduleKind::linear:
      result.end_factor = reader.number("end_factor", {.min = 0, .max = 1}, result.end_factor);
      break;
  }
  return result;
}

ScheduleConfig read_schedule(const config::Node* node, const config::Mark& parent,
                             config::Diagnostics& diagnostics) {
  if (node == nullptr || node->kind != config::Kind::scalar) {
    config::MapReader reader(node, "schedule", parent, diagnostics);
    const ScheduleConfig result = read_schedule(reader);
    reader.finish();
    return result;
  }
  config::Node name = *node;
  config::Node map;
  map.kind = config::Kind::map;
  map.mark = node->mark;
  map.entries.push_back({.key = "name", .key_mark = node->mark, .value = std::move(name)});
  config::MapReader reader(&map, "schedule", parent, diagnostics);
  return read_schedule(reader);
}

double schedule_factor(const ScheduleConfig& config, std::int64_t step, std::int64_t total_steps) {
  if (step < config.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  const std::int64_t past = step - config.warmup_steps;
  const std::int64_t length = std::max<std::int64_t>(total_steps - config.warmup_steps, 1);
  const double t = std::min(static_cast<double>(past) / static_cast<double>(length), 1.0);
  switch (config.kind) {
    case ScheduleKind::constant:
      return 1.0;
    case ScheduleKind::step:
      return std::pow(config.gamma, static_cast<double>(past / config.step_size));
    case ScheduleKind::linear:
      return 1.0 + t * (config.end_factor - 1.0);
    case ScheduleKind::cosine:
      return config.end_factor +
             (1.0 - config.end_factor) * (1.0 + std::cos(std::numbers::pi * t)) / 2.0;
  }
  return 1.0;
}

}  // namespace dlt::optim

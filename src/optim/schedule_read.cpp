// SPDX-License-Identifier: Apache-2.0
// `schedule:` of a config.
#include <array>
#include <limits>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "optim/schedule.h"

namespace dlt::optim {
namespace {

constexpr std::int64_t kMaxSteps = std::int64_t{1} << 40;

constexpr std::array<std::pair<std::string_view, ScheduleKind>, 12> kKinds{
    {{"constant", ScheduleKind::constant},
     {"cosine", ScheduleKind::cosine},
     {"cosine_restarts", ScheduleKind::cosine_restarts},
     {"exponential", ScheduleKind::exponential},
     {"inverse_sqrt", ScheduleKind::inverse_sqrt},
     {"linear", ScheduleKind::linear},
     {"multi_step", ScheduleKind::multi_step},
     {"one_cycle", ScheduleKind::one_cycle},
     {"polynomial", ScheduleKind::polynomial},
     {"reduce_on_plateau", ScheduleKind::reduce_on_plateau},
     {"step", ScheduleKind::step},
     {"warmup_stable_decay", ScheduleKind::warmup_stable_decay}}};

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const auto& kind : kKinds) names.emplace_back(kind.first);
  return names;
}

ScheduleKind kind_of(std::string_view name) {
  for (const auto& kind : kKinds) {
    if (kind.first == name) return kind.second;
  }
  return ScheduleKind::constant;
}

double read_gamma(config::MapReader& reader, std::optional<double> fallback) {
  return reader.number("gamma", {.min = 0, .max = 1, .min_open = true}, fallback);
}

double read_factor(config::MapReader& reader, const char* key, double fallback) {
  return reader.number(key, {.min = 0, .max = 1}, fallback);
}

std::int64_t read_steps(config::MapReader& reader, const char* key,
                        std::optional<std::int64_t> fallback = {}) {
  return reader.integer(key, {.min = 1, .max = kMaxSteps}, fallback);
}

Anneal read_anneal(config::MapReader& reader, const char* key,
                   const std::vector<std::string>& legal, const char* fallback) {
  const std::string word = reader.choice(key, legal, std::string(fallback));
  if (word == "linear") return Anneal::linear;
  return word == "sqrt" ? Anneal::sqrt : Anneal::cosine;
}

PlateauConfig read_plateau(config::MapReader& reader) {
  PlateauConfig out;
  out.monitor = reader.text("monitor", out.monitor);
  // Errors fall, everything else that is measured rises.
  const bool falls = out.monitor == "loss" || out.monitor == "mae" || out.monitor == "mse" ||
                     out.monitor == "perplexity" || out.monitor == "edit_distance";
  const std::string mode = reader.choice("mode", {"auto", "max", "min"}, std::string("auto"));
  out.mode = mode == "max" || (mode == "auto" && !falls) ? PlateauMode::max : PlateauMode::min;
  out.factor =
      reader.number("factor", {.min = 0, .max = 1, .min_open = true, .max_open = true}, out.factor);
  out.patience = reader.integer("patience", {.min = 0, .max = kMaxSteps}, out.patience);
  out.threshold = reader.number("threshold", {.min = 0}, out.threshold);
  out.threshold_mode = reader.choice("threshold_mode", {"abs", "rel"}, std::string("rel")) == "abs"
                           ? ThresholdMode::abs
                           : ThresholdMode::rel;
  out.cooldown = reader.integer("cooldown", {.min = 0, .max = kMaxSteps}, out.cooldown);
  out.min_factor = read_factor(reader, "min_factor", out.min_factor);
  return out;
}

void read_milestones(config::MapReader& reader, ScheduleConfig& out) {
  const std::size_t mistakes = reader.diagnostics().size();
  out.milestones = reader.integers("milestones", {.min = 1, .max = kMaxSteps});
  if (reader.diagnostics().size() != mistakes) return;
  for (std::size_t i = 1; i < out.milestones.size(); ++i) {
    if (out.milestones[i - 1] < out.milestones[i]) continue;
    reader.error("milestones", cat("expected steps in ascending order, got ", out.milestones[i],
                                   " behind ", out.milestones[i - 1]));
    return;
  }
}

/// What is special to the kind.
void read_kind(config::MapReader& reader, ScheduleConfig& out) {
  switch (out.kind) {
    case ScheduleKind::constant:
    case ScheduleKind::chain:
      break;
    case ScheduleKind::cosine:
    case ScheduleKind::linear:
      out.end_factor = read_factor(reader, "end_factor", out.end_factor);
      break;
    case ScheduleKind::cosine_restarts:
      out.period_steps = read_steps(reader, "period_steps");
      out.period_factor = reader.integer("period_factor", {.min = 1, .max = 1024}, 1);
      out.peak_factor =
          reader.number("peak_factor", {.min = 0, .max = 1, .min_open = true}, out.peak_factor);
      out.end_factor = read_factor(reader, "end_factor", out.end_factor);
      break;
    case ScheduleKind::exponential:
      out.gamma = read_gamma(reader, std::nullopt);
      out.decay_steps = read_steps(reader, "decay_steps", 1);
      break;
    case ScheduleKind::inverse_sqrt:
      out.timescale_steps = reader.integer("timescale_steps", {.min = 0, .max = kMaxSteps}, 0);
      break;
    case ScheduleKind::multi_step:
      read_milestones(reader, out);
      out.gamma = read_gamma(reader, out.gamma);
      break;
    case ScheduleKind::one_cycle:
      out.pct_start = read_factor(reader, "pct_start", out.pct_start);
      out.div_factor = reader.number("div_factor", {.min = 1}, out.div_factor);
      out.final_div_factor = reader.number("final_div_factor", {.min = 1}, out.final_div_factor);
      out.anneal = read_anneal(reader, "anneal", {"cosine", "linear"}, "cosine");
      break;
    case ScheduleKind::polynomial:
      out.power = reader.number("power", {.min = 0, .min_open = true}, out.power);
      out.end_factor = read_factor(reader, "end_factor", out.end_factor);
      break;
    case ScheduleKind::reduce_on_plateau:
      out.plateau = read_plateau(reader);
      break;
    case ScheduleKind::step:
      out.step_size = read_steps(reader, "step_size");
      out.gamma = read_gamma(reader, out.gamma);
      break;
    case ScheduleKind::warmup_stable_decay:
      out.decay_steps = read_steps(reader, "decay_steps");
      out.anneal = read_anneal(reader, "decay", {"cosine", "linear", "sqrt"}, "linear");
      out.end_factor = read_factor(reader, "end_factor", out.end_factor);
      break;
  }
}

ScheduleConfig read_named(config::MapReader& reader) {
  ScheduleConfig result;
  result.kind = kind_of(reader.choice("name", schedule_names(), std::string("constant")));
  if (result.kind != ScheduleKind::one_cycle) {
    result.warmup_steps = reader.integer("warmup_steps", {.min = 0, .max = kMaxSteps}, 0);
  }
  read_kind(reader, result);
  return result;
}

ScheduleConfig read_chain(config::MapReader& reader) {
  ScheduleConfig result;
  result.kind = ScheduleKind::chain;
  const config::Node* list = reader.child("chain");
  if (list->kind != config::Kind::sequence || list->items.empty()) {
    reader.error("chain", "expected a list of schedules",
                 "as in chain: [{name: constant, steps: 100}, {name: cosine}]");
    return result;
  }
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const config::Node& item = list->items[i];
    config::MapReader link(&item, cat(reader.path(), ".chain.", i), item.mark,
                           reader.diagnostics());
    ScheduleConfig schedule = read_named(link);
    const bool last = i + 1 == list->items.size();
    if (!last || link.has("steps")) {
      schedule.steps = read_steps(link, "steps");
    } else {
      (void)link.child("steps");
    }
    if (schedule.kind == ScheduleKind::reduce_on_plateau) {
      link.error("name", "expected a schedule that follows from the step, got 'reduce_on_plateau'",
                 "reduce_on_plateau stands alone; it takes warmup_steps");
    }
    link.finish();
    result.links.push_back(std::move(schedule));
  }
  return result;
}

}  // namespace

ScheduleConfig read_schedule(config::MapReader& reader) {
  if (reader.has("chain")) return read_chain(reader);
  ScheduleConfig result = read_named(reader);
  if (!reader.has("name")) (void)reader.child("chain");  // legal, in the place of all others
  return result;
}

ScheduleConfig read_schedule(const config::Node* node, const config::Mark& parent,
                             config::Diagnostics& diagnostics) {
  if (node == nullptr || node->kind != config::Kind::scalar) {
    config::MapReader reader(node, "schedule", parent, diagnostics);
    ScheduleConfig result = read_schedule(reader);
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

}  // namespace dlt::optim

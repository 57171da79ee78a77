// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_options.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kMaxInterval_steps = std::int64_t{1} << 40;

std::optional<BestRule> read_best_rule(config::MapReader& checkpoint) {
  if (!checkpoint.has("best")) {
    (void)checkpoint.child("best");  // legal, though absent
    return {};
  }
  config::MapReader best = checkpoint.map("best");
  BestRule out;
  out.metric = best.text("metric", std::string("loss"));
  const std::string usual = out.metric == "loss" ? "min" : "max";
  out.mode = best.choice("mode", {"max", "min"}, usual) == "min" ? BestMode::min : BestMode::max;
  best.finish();
  return out;
}

}  // namespace

CheckpointOptions read_checkpoint_options(config::MapReader checkpoint) {
  CheckpointOptions out;
  // Without the key there are no checkpoints but the last: auto must be asked for.
  const config::IntegerRule steps{.min = 0, .max = kMaxInterval_steps};
  if (checkpoint.has("every_steps")) {
    const auto every = checkpoint.integer_or_auto("every_steps", steps);
    out.automatic = !every.has_value();
    out.every_steps = every.value_or(0);
  } else {
    out.every_steps = checkpoint.integer("every_steps", steps, 0);
  }
  out.every_s = checkpoint.number("every_seconds", {.min = 0, .max = 1e9}, 0.0);
  out.keep = static_cast<int>(checkpoint.integer("keep", {.min = 1, .max = 1000000}, 3));
  out.keep_every = checkpoint.integer("keep_every", {.min = 0, .max = kMaxInterval_steps}, 0);
  out.best = read_best_rule(checkpoint);
  out.ram_every_steps =
      checkpoint.integer_or_auto("ram_every_steps", {.min = 0, .max = kMaxInterval_steps});
  if (out.automatic && out.every_s > 0) {
    checkpoint.error("every_seconds",
                     "expected either checkpoint.every_seconds or checkpoint.every_steps: auto, "
                     "got both");
  }
  checkpoint.finish();
  return out;
}

}  // namespace dlt::train

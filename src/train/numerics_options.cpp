// SPDX-License-Identifier: Apache-2.0
#include "train/numerics_options.h"

#include <array>
#include <string>

namespace dlt::train {
namespace {

constexpr std::array<std::string_view, 5> kNames{"off", "warn", "skip", "rollback", "halt"};

NumericsAction action_of(std::string_view word) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == word) return static_cast<NumericsAction>(i);
  }
  return NumericsAction::halt;  // a mistake that was recorded
}

}  // namespace

std::string_view name(NumericsAction action) { return kNames[static_cast<std::size_t>(action)]; }

NumericsOptions read_numerics(config::MapReader numerics) {
  NumericsOptions out;
  out.on_nonfinite =
      action_of(numerics.choice("on_nonfinite", {"halt", "rollback", "skip"}, std::string("halt")));
  out.on_spike = action_of(
      numerics.choice("on_spike", {"halt", "off", "rollback", "skip", "warn"}, std::string("off")));
  out.spike_zscore =
      numerics.number("spike_zscore", {.min = 0, .max = 1e6, .min_open = true}, out.spike_zscore);
  out.spike_window = numerics.integer("spike_window", {.min = 2, .max = 1000000}, out.spike_window);
  out.max_rollbacks =
      numerics.integer("max_rollbacks", {.min = 1, .max = 1000000}, out.max_rollbacks);
  numerics.finish();
  return out;
}

bool decides_before_update(const NumericsOptions& options) {
  return options.on_nonfinite == NumericsAction::skip || options.on_spike == NumericsAction::skip;
}

}  // namespace dlt::train

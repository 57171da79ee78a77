// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/rank_start.h"

#include <cmath>

#include "base/text.h"

namespace dlt::supervise {

Words rank_words(const JobSetup& setup, const Headway& headway) {
  const LaunchOptions& options = setup.options;
  Words out{setup.dltrain, options.config};
  for (const std::string& text : options.overrides) out.insert(out.end(), {"--set", text});
  const bool from_path = options.resume != "auto" && options.resume != "never";
  if (from_path ? !headway.saved : !headway.progressed) {
    if (options.resume != "auto") out.insert(out.end(), {"--resume", options.resume});
    if (options.overwrite) out.emplace_back("--overwrite");
  }
  if (options.quiet) out.emplace_back("--quiet");
  return out;
}

EnvChanges told_to_ranks(const ControlPoint& control, const std::string& memory_dir,
                         const Launch& launch, const Status& status) {
  const auto ms = [](double seconds) { return cat(std::llround(seconds * 1e3)); };
  std::vector<std::string> skipped;
  for (const std::int64_t step : launch.skip_steps) skipped.push_back(cat(step));
  return {
      {"DLRUN_CONTROL", control.address},           {"DLRUN_TOKEN", control.token},
      {"DLRUN_GENERATION", cat(launch.generation)}, {"DLRUN_MEMORY", memory_dir},
      {"DLRUN_SKIP_STEPS", join(skipped, ",")},     {"DLRUN_RESTARTS", cat(status.restarts)},
      {"DLRUN_STEPS_LOST", cat(status.steps_lost)}, {"DLRUN_FURTHEST_STEP", cat(status.step)},
      {"DLRUN_ELAPSED_MS", ms(status.elapsed_s)},   {"DLRUN_STEPPING_MS", ms(status.stepping_s)}};
}

}  // namespace dlt::supervise

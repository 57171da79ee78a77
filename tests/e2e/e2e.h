// SPDX-License-Identifier: Apache-2.0
// What the tests of the whole program share.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "support/program.h"
#include "support/temp_folder.h"

namespace dlt::e2e {

using Words = std::vector<std::string>;

/// A program and its own words, then these.
[[nodiscard]] ProgramResult run_with(Words program, const Words& words,
                                     const ProgramOptions& options);

#ifdef DLTRAIN_PROGRAM  // which one is a matter of the test
/// dltrain with these words, alone.
[[nodiscard]] inline ProgramResult dltrain(const Words& words, const ProgramOptions& options = {}) {
  return run_with({DLTRAIN_PROGRAM}, words, options);
}
/// The same under mpirun.
[[nodiscard]] inline ProgramResult dltrain_ranks(int num_ranks, const Words& words,
                                                 const ProgramOptions& options = {}) {
  return run_with({DLTRAIN_MPIEXEC, "--oversubscribe", "--bind-to", "none", "-n",
                   std::to_string(num_ranks), DLTRAIN_PROGRAM},
                  words, options);
}
/// num_ranks 0: alone, else under mpirun.
[[nodiscard]] inline ProgramResult dltrain_on(int num_ranks, const Words& words,
                                              const ProgramOptions& options = {}) {
  return num_ranks == 0 ? dltrain(words, options) : dltrain_ranks(num_ranks, words, options);
}
#endif

/// A small run on the digits that learns something in one epoch of 23 steps.
[[nodiscard]] std::string digits_yaml();
/// Replaces the first `from`, which must be there.
[[nodiscard]] std::string replaced(std::string text, std::string_view from, std::string_view to);

[[nodiscard]] int count(std::string_view text, std::string_view what);
/// What follows `"name": ` in a JSON text, without quotes.
[[nodiscard]] std::string json_value(const std::string& text, const std::string& name);
/// The weights hash in a run's summary.json.
[[nodiscard]] std::string summary_hash(const std::string& run_dir);

/// A file as it is now, "" if there is none.
[[nodiscard]] std::string whole_file(const std::string& path);
/// Processes whose command line has this word, with their programs' names.
[[nodiscard]] std::vector<std::pair<pid_t, std::string>> processes_with(const std::string& word);
/// Waits until a run's events are past this step.
void wait_for_step(const std::string& run_dir, int step);

}  // namespace dlt::e2e

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dlt::train {

/// What one step came to, as hashes that do not depend on how many ranks made it.
struct StepHashes {
  std::int64_t step = 0;  // steps done, this one included
  std::string skipped;    // why it made no update ("nonfinite", "spike", "listed"); "": it made one
  std::uint64_t samples = 0;                // rows, inputs, targets and weights of all leaves
  std::uint64_t loss = 0;                   // bits of the step's loss, an f64
  std::vector<std::uint64_t> gradients;     // reduced, of each parameter; empty: not known
  std::optional<std::uint64_t> parameters;  // behind the step; none: the ranks' differ by design
};

/// RUN/hashes.jsonl as it is read.
struct HashLog {
  std::string path;
  std::vector<std::string> parameters;  // that gradients are of
  std::map<std::int64_t, StepHashes> steps;
};

/// The first line of the file, and the line of a step behind the line with hash `chain`, which
/// becomes that of the new one; both with their newline.
[[nodiscard]] std::string hash_log_header(const std::vector<std::string>& parameters);
[[nodiscard]] std::string hash_log_line(const StepHashes& hashes, std::uint64_t& chain);
/// Hash of the first line, where the chain begins.
[[nodiscard]] std::uint64_t chain_start(const std::string& header);

/// Reads the file of a run's folder, or the file itself. A last line that was cut short is left
/// out. errors  Error(Exit::missing) if there is none, Error(Exit::data) naming the line that is
/// none, or was changed
[[nodiscard]] HashLog read_hash_log(const std::string& path);

/// "samples", "loss", "gradient of 'dense_1.weight'", "parameters", or "the update was left out";
/// "" if the two are equal as far as both know.
[[nodiscard]] std::string first_difference(const std::vector<std::string>& parameters_a,
                                           const StepHashes& a,
                                           const std::vector<std::string>& parameters_b,
                                           const StepHashes& b);

/// How far two runs agree.
struct RunDifference {
  std::int64_t step = -1;                          // the first that differs; -1: none
  std::string stage;                               // as of first_difference
  std::int64_t compared = 0, first = 0, last = 0;  // steps that both have
  std::int64_t only_a = 0, only_b = 0;             // steps that one has
};
/// errors  Error(Exit::data) if they have no step in common
[[nodiscard]] RunDifference compare(const HashLog& a, const HashLog& b);

}  // namespace dlt::train

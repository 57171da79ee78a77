// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "train/session.h"

namespace dlt::train {

struct ReplayOptions {
  std::string run;         // its folder
  std::int64_t step = 1;   // as messages and logs count: the first is 1
  bool until_nan = false;  // go on behind it, to the first number that is not finite
  std::string dump;        // a safetensors file for the step's tensors; "": none
  int leaf = -1;           // whose activations go there, too; -1: none
};

struct ReplayResult {
  std::string text;
  bool equal = true;  // to the run's hashes, as far as it has some
};

/// Makes steps of a run again, in one process, from the newest checkpoint before them: leaf by
/// leaf, with the bits of the run on however many ranks. Writes nothing to the run's folder.
class ReplayJob {
 public:
  /// errors  Error(Exit::missing) no such run, or nothing of it that could be gone on from;
  ///         Error(Exit::config) for a run whose bits depend on its ranks, or a step it has not
  ReplayJob(const Surroundings& surroundings, const ReplayOptions& options);
  ~ReplayJob();
  [[nodiscard]] ReplayResult run();

 private:
  struct Replay;
  void read_state();
  void read_manifest();
  void require_exact() const;

  Surroundings around_;
  ReplayOptions options_;
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::string newest_;  // the run's newest checkpoint, which knows all steps that were skipped; ""
                        // if that is checkpoint_, or there is none
  RunConfig config_;
  std::unique_ptr<data::Dataset> data_, eval_data_;
  std::int64_t num_leaves_ = 0, world_size_ = 1, total_steps_ = 0;
};

}  // namespace dlt::train

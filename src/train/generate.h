// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "train/sampling.h"
#include "train/session.h"

namespace dlt::train {

struct GenerateOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string checkpoint;  // a checkpoint folder, or a run's folder (its newest valid one)
  std::string vocabulary;  // HDF5 file that holds it; "": data.train.file
  std::string prompt;
  std::int64_t tokens = 500;  // at most so many, without the prompt's
  SamplingOptions sampling;
  std::string stop;  // ends before this text
};

/// Text from a language model: one that takes tokens [T] and gives logits at each position [T, V],
/// or after the last [V]. The context is the last T tokens; a shorter one stands at the begin of
/// the input, and the model must not look ahead (causal attention, or recurrence). One process, no
/// ranks. The text is a function of checkpoint, prompt and options.
class GenerateJob {
 public:
  /// errors  Error(Exit::config) a model that is not of that kind, or of fewer tokens than the
  /// vocabulary; Error(Exit::usage) an empty prompt, or one with characters that are not in it
  GenerateJob(const Surroundings& surroundings, const GenerateOptions& options);
  /// Calls print with the prompt, then with each piece of text as it comes.
  void run(const std::function<void(const std::string&)>& print);

 private:
  void check_model() const;

  Surroundings around_;
  GenerateOptions options_;
  RunConfig config_;
  checkpoint::Checkpoint checkpoint_;
  data::Tokenizer tokenizer_;
  std::vector<std::int32_t> tokens_;  // of the prompt
};

}  // namespace dlt::train

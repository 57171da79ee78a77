// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"
#include "train/session.h"

namespace dlt::train {

struct EvaluateOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string checkpoint;      // a checkpoint folder, or a run's folder (its newest valid one)
  std::string split = "eval";  // "eval" or "train"
};

/// Loss and metrics of a checkpoint over a split, as one JSON object; the same bits for any number
/// of ranks. Made before ranks connect, so that a mistake is found first.
class EvaluateJob {
 public:
  EvaluateJob(const Surroundings& surroundings, const EvaluateOptions& options);
  /// Collective.
  [[nodiscard]] std::string run(comm::Communicator& comm);

 private:
  Surroundings around_;
  EvaluateOptions options_;
  RunConfig config_;
  checkpoint::Checkpoint checkpoint_;
  std::unique_ptr<data::Dataset> data_;
};

struct PredictOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string checkpoint;
  std::string input;    // HDF5 file
  std::string dataset;  // in it; "" takes data.eval.inputs, else data.train.inputs
  std::string output;   // HDF5 file, replaced; predictions are /predictions [rows, output shape...]
};

/// Model outputs in input order, whatever the rank count.
class PredictJob {
 public:
  PredictJob(const Surroundings& surroundings, const PredictOptions& options);
  /// Collective. Returns a line that says what was written.
  [[nodiscard]] std::string run(comm::Communicator& comm);

 private:
  Surroundings around_;
  PredictOptions options_;
  RunConfig config_;
  checkpoint::Checkpoint checkpoint_;
  std::unique_ptr<data::Dataset> data_;
};

}  // namespace dlt::train

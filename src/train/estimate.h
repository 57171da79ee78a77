// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "train/session.h"

namespace dlt::train {

struct CheckOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  int ranks = 1;  // on this host
};

/// What a step costs and a rank holds, before anything is trained.
struct Estimate {
  int ranks = 1, threads = 1, leaves = 1;
  std::int64_t leaf_capacity = 0;
  std::int64_t params = 0, frozen = 0;
  std::int64_t steps = 0, steps_per_epoch = 0;
  std::int64_t flops_per_step = 0;  // over all ranks
  std::int64_t bytes_per_step = 0;  // a rank sends and receives this much
  std::int64_t num_buckets = 0;
  std::int64_t program_bytes = 0;     // peak resident memory of a rank, in parts: code, libraries,
  std::int64_t data_bytes = 0;        // cached data,
  std::int64_t model_bytes = 0;       // parameters and optimiser state,
  std::int64_t gradient_bytes = 0;    // gradient buffers,
  std::int64_t activation_bytes = 0;  // arenas of training and evaluation
  std::int64_t saving_bytes = 0;      // the copy of its share of a checkpoint
  std::int64_t shared_bytes = 0;      // one for all ranks, each of which counts what it uses of it
  [[nodiscard]] std::int64_t peak_bytes() const {
    return program_bytes + data_bytes + model_bytes + gradient_bytes + activation_bytes +
           saving_bytes;
  }
};

/// Layer, output shape of one sample, parameters: a line a layer.
[[nodiscard]] std::string model_table(const nn::Model& model);

/// Checks all that `train` would check and returns the model table with costs, as text.
[[nodiscard]] std::string run_check(const Surroundings& around, const CheckOptions& options);

}  // namespace dlt::train

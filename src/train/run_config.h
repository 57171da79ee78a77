// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/op_def.h"
#include "base/cpu.h"
#include "config/fault_options.h"
#include "config/node.h"
#include "data/augment.h"
#include "ddp/compression/compression.h"
#include "ddp/reducer.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "optim/averaging.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "tensor/backend.h"
#include "train/checkpoint_options.h"
#include "train/data_source.h"
#include "train/initial_weights.h"
#include "train/metrics.h"
#include "train/numerics_options.h"

namespace dlt::train {

/// What each rank keeps only a part of: nothing, the optimiser's state, or reduced gradients as
/// well.
enum class Sharding : std::uint8_t { none, optimizer, gradients };

enum class Device : std::uint8_t { automatic, cpu, cuda };

/// A whole YAML file as one struct. `auto` is an empty optional.
struct RunConfig {
  std::string name, dir;
  std::uint64_t seed = 0;

  std::unique_ptr<nn::Model> model;
  std::unique_ptr<nn::Loss> loss;
  nn::TargetSpec target;                         // what the loss wants of one sample
  std::int64_t positions = 1;                    // of a prediction, as metrics count them
  std::vector<std::unique_ptr<Metric>> metrics;  // without the loss, which is always there

  std::optional<DataSource> train_data, eval_data;
  std::int64_t global_batch_size = 0;
  bool shuffle = true;
  bool streams = false;  // each sample of a batch walks through rows that follow each other
  std::optional<std::int64_t> data_workers;
  bool skip_bad_samples = false;  // they get weight 0; else they end the run
  data::AugmentOptions augment;   // of training samples

  std::optional<std::int64_t> epochs, steps, stop_at_step, threads, leaves;
  ddp::Reduction reduction = ddp::Reduction::exact;
  Sharding shard = Sharding::none;
  std::optional<std::int64_t> memory_budget_bytes;  // of a rank's activations
  std::optional<double> clip_norm, clip_value;
  optim::Averaging averaging;
  std::int64_t eval_every_epochs = 1;
  std::optional<InitialWeightsOptions> init;
  std::optional<optim::ParamGroup> freeze;  // parameters that stay as they are
  Device device = Device::automatic;        // that leaves run on
  bool capture = true;                      // a GPU's steps are captured and replayed
  std::string precision =
      "f32";  // of the operands of products: f32, bf16, bf16_emulated, fp16, tf32

  /// Gradients pass through numbers of a small range (optim::LossScaler).
  [[nodiscard]] bool scales_loss() const { return precision == "fp16"; }

  std::unique_ptr<optim::Optimizer> optimizer;
  optim::ScheduleConfig schedule;

  std::string comm_backend;       // auto, self, mpi
  std::int64_t bucket_bytes = 0;  // 0: auto
  bool overlap = true;
  bool shared_memory = true;        // between the ranks of a host, for gradients
  bool shared_replica = true;       // ... and for one copy of parameters and optimiser state
  std::int64_t verify_every = 100;  // steps between comparisons of the replicas; 0: never
  ddp::CompressionOptions compression;
  bool balance = false;  // leaves move between ranks that are not equally fast
  std::int64_t sync_every =
      1;  // steps that ranks make by themselves, the one with the mean included

  CheckpointOptions checkpoint;
  config::FaultOptions fault;
  NumericsOptions numerics;
  std::int64_t log_every_steps = 10;
  bool tensorboard = true;
  std::int64_t trace_steps = 0;  // steps to be traced
  bool hashes = false;           // each step's, to hashes.jsonl

  config::Node resolved;  // every key with its value
};

/// What this processor lacks for train.precision, as the error says it; "" if nothing.
[[nodiscard]] std::string precision_problem(const std::string& precision, const CpuFeatures& cpu);

/// Reads and checks a config file with overrides. errors  Error(Exit::config) with every mistake of
/// the file; Exit::missing if there is no such file. table and backend must outlive the result.
[[nodiscard]] RunConfig read_run_config(const std::string& path,
                                        const std::vector<std::string>& overrides,
                                        const autodiff::OpTable& table,
                                        const tensor::Backend& backend);

/// The same from a text, for models built in C++; source is what messages call it.
[[nodiscard]] RunConfig run_config_of(const std::string& source, const std::string& text,
                                      const autodiff::OpTable& table,
                                      const tensor::Backend& backend);

/// Every scalar of a tree with its dotted key, in the order of the file.
using FlatConfig = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] FlatConfig flatten_config(const config::Node& tree);

/// Hash of the resolved configuration without the keys that may change on resume (log.trace_steps,
/// train.epochs, train.steps, train.stop_at_step, train.shard).
[[nodiscard]] std::string config_fingerprint(const RunConfig& config);
[[nodiscard]] bool may_change_on_resume(const std::string& key);

}  // namespace dlt::train

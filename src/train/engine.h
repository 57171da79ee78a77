// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "comm/communicator.h"
#include "data/dataset.h"
#include "train/leaf_runner.h"
#include "train/model_state.h"
#include "train/run_config.h"

namespace dlt::train {

/// How the work of a job is divided, decided once all ranks are known.
struct Division {
  int threads = 1;  // of this rank, that have leaves to run: 1 with a GPU
  int update_threads = 1;
  int num_leaves = 1;
  int num_workers = 1;  // threads of this rank that have leaves to run
  std::int64_t leaf_capacity = 1;
  int total_threads = 1;        // over all ranks
  bool oversubscribed = false;  // more threads than cores on this host
};

/// Names of the running statistics among a model's parameters: no business of the optimiser.
[[nodiscard]] std::vector<std::string> statistic_names(const nn::Model& model);
/// What a run's state holds beside parameters and the optimiser's.
[[nodiscard]] StateExtras state_extras(const RunConfig& config, std::int64_t steps_per_epoch);

/// Loads the weights of a checkpoint that evaluation, prediction and generation work with: the
/// average if the config keeps one for that, else the weights themselves.
void load_for_use(const RunConfig& config, const checkpoint::Checkpoint& checkpoint,
                  ModelState& state);

[[nodiscard]] std::int64_t count_params(const RunConfig& config);

/// Threads that a rank's part of a step is worth: handing work to a thread costs some microseconds,
/// which a tiny model's leaf does not take. At least 1.
[[nodiscard]] int useful_threads(const RunConfig& config, int world_size);

/// Threads: train.threads, or this rank's share of the cores it may use (two ranks that share a
/// core count half of it each). A GPU, which is the device of this rank, counts as one for leaves.
/// Leaves: fixed_leaves (from a checkpoint) if not 0, else train.leaves, else one for each thread
/// of all ranks, at most one for each sample of a batch. Collective. errors  Error(Exit::config) if
/// there are more ranks than leaves, saying what to set
[[nodiscard]] Division divide(const RunConfig& config, comm::Communicator& comm,
                              const std::string& host, std::int64_t fixed_leaves,
                              const tensor::Backend& device);

/// The part of it that needs no other rank: leaves, workers and capacity from threads and
/// total_threads, which are given. For `check`, which only supposes ranks.
void divide_leaves(const RunConfig& config, int world_size, int rank, std::int64_t fixed_leaves,
                   Division& out);

/// Samples an evaluation chunk holds: the same for any number of ranks, threads and leaves.
[[nodiscard]] std::int64_t evaluation_chunk(const RunConfig& config);

/// The program of a leaf; where train.memory_budget asks for it, activations are computed again in
/// the backward pass rather than kept. num_workers leaves run at once in a rank. errors
/// Error(Exit::config) if the budget cannot be kept
[[nodiscard]] std::unique_ptr<autodiff::Program> training_program(const RunConfig& config,
                                                                  const autodiff::OpTable& table,
                                                                  tensor::Backend& backend,
                                                                  std::int64_t leaf_capacity,
                                                                  int num_workers = 1);
[[nodiscard]] std::unique_ptr<autodiff::Program> evaluation_program(
    const RunConfig& config, const autodiff::OpTable& table, tensor::Backend& backend,
    const tensor::FlatLayout* layout);
[[nodiscard]] std::unique_ptr<autodiff::Program> prediction_program(
    const RunConfig& config, const autodiff::OpTable& table, tensor::Backend& backend,
    const tensor::FlatLayout* layout = nullptr);

/// Opens a data set and checks that its rows fit model and loss.
[[nodiscard]] std::unique_ptr<data::Dataset> open_dataset(const RunConfig& config,
                                                          const DataSource& source);

/// Optimiser steps of the whole run: train.steps, or epochs over these rows.
[[nodiscard]] std::int64_t total_steps(const RunConfig& config, std::int64_t num_rows);
[[nodiscard]] std::int64_t steps_per_epoch(const RunConfig& config, std::int64_t num_rows);

/// Whether the config asks for an evaluation after this many steps.
[[nodiscard]] bool evaluation_due(const RunConfig& config, std::int64_t per_epoch,
                                  std::int64_t steps_done);
/// Tells a schedule that waits for a plateau of an evaluation's values.
void observe_plateau(const RunConfig& config, ModelState& state, const MetricValues& values,
                     std::int64_t steps_done);

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/op_def.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/generation.h"
#include "comm/communicator.h"
#include "observe/progress.h"
#include "observe/pulse.h"
#include "tensor/backend.h"
#include "train/devices.h"
#include "train/engine.h"
#include "train/run_config.h"
#include "train/run_dir.h"
#include "train/run_log.h"

namespace dlt::train {

/// The things from outside that a job uses; all outlive it.
struct Surroundings {
  const autodiff::OpTable& table;
  tensor::Backend& backend;  // the host's: state and updates
  Fs& fs;
  Clock& clock;
  std::string host;
  std::string program_version;  // "dltrain 0.1.0 (git 1a2b3c4)"
  std::string program_hash;     // of the executable: ranks must run the same one
  observe::Pulse& pulse = observe::silent_pulse();
  std::int64_t generation = 0;  // of the supervisor's start of this job; 0: there is none
  std::vector<std::int64_t> skip_steps =
      {};  // steps done before those that must make no update (fault.poison: skip)
  RunSoFar so_far = {};
  std::string memory_dir =
      {};                      // what outlives a process of the job on this host; "": no supervisor
  Devices* devices = nullptr;  // null: the host alone

  /// What leaves run on. errors  as of Devices::for_leaves
  [[nodiscard]] tensor::Backend& leaf_device(const RunConfig& config) const {
    return devices != nullptr ? devices->for_leaves(config) : backend;
  }
  /// The same, decided with the other ranks. Collective.
  [[nodiscard]] tensor::Backend& leaf_device(const RunConfig& config,
                                             comm::Communicator& comm) const {
    if (devices != nullptr) devices->place(config, comm, host);
    return leaf_device(config);
  }
};

struct TrainOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  ResumeOptions resume;
  observe::ProgressStyle progress = observe::ProgressStyle::plain;
};

/// What a run came to; also written to summary.json.
struct RunSummary {
  std::string status;  // "finished", "stopped" (train.stop_at_step), "preempted"
  std::string dir;
  std::int64_t steps = 0, epochs = 0;
  int world_size = 1, leaves = 1;
  std::int64_t restarts = 0, steps_lost = 0;  // of this job under its supervisor
  double wall_s = 0, samples_per_s = 0;
  MetricValues train, eval;
  MetricTables eval_tables;
  std::string weights_hash;
  std::optional<std::int64_t> bad_samples;  // passed over since the start; with data.on_bad: skip
  Exit exit = Exit::ok;
};

/// A training job, checked as far as one rank can: configuration read, data opened, the state to
/// resume from loaded and verified. Everything a user can get wrong is found here, before MPI does
/// any work.
class TrainJob {
 public:
  /// errors  Error with the exit code of the first thing that is wrong
  TrainJob(const Surroundings& surroundings, const TrainOptions& options);
  ~TrainJob();

  /// The run is complete already and there is nothing to do.
  [[nodiscard]] bool finished() const { return finished_; }
  /// Summary text of a finished run.
  [[nodiscard]] std::string finished_text() const;

  /// Trains to the end, to train.stop_at_step, or until *stop is set on any rank (then saves and
  /// returns with Exit::preempted). Collective. errors  a failure of any rank is thrown on all of
  /// them
  RunSummary run(comm::Communicator& comm, const std::atomic<bool>& stop);

  [[nodiscard]] const RunConfig& config() const { return config_; }

 private:
  friend class TrainLoop;
  /// Takes a state from memory instead, if there is a newer one. Collective.
  void look_in_memory(comm::Communicator& comm);

  Surroundings around_;
  TrainOptions options_;
  RunConfig config_;
  std::unique_ptr<data::Dataset> train_data_, eval_data_;
  ResumeDecision resume_;
  std::optional<InitialWeights> init_;  // of a run that begins with weights of a file
  std::int64_t total_steps_ = 0;
  bool finished_ = false;
};

/// The lines that `dltrain train` ends with.
[[nodiscard]] std::string summary_text(const RunSummary& summary);

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "comm/communicator.h"
#include "train/comm_plan.h"
#include "train/model_state.h"
#include "train/run_log.h"
#include "train/session.h"
#include "train/trainer.h"

namespace dlt::train {

/// What saving uses of a run; everything must outlive the saver.
struct SaverParts {
  const RunConfig& config;
  const Surroundings& around;
  comm::Communicator& comm;
  const CommPlan& plan;
  ModelState& state;
  RunLog& log;
  int num_leaves = 1;
  std::int64_t num_rows = 0;  // of the training data
};

/// Brings a run's state to its checkpoints: decides when, and sees to it that no bad state is
/// saved.
class Saver {
 public:
  explicit Saver(const SaverParts& parts);
  /// Whether a checkpoint is due after this many steps.
  [[nodiscard]] bool due(std::int64_t steps_done) const;
  /// Saves the state after this many steps. Collective; rank 0 writes. A failed write is an event
  /// and a warning, and the run goes on.
  /// errors  Error(Exit::numerics) naming a parameter that is not finite; Error(Exit::internal) if
  ///         the replicas differ
  void save(Trainer& trainer, std::int64_t steps_done);
  /// Steps done at the last save, -1 before the first.
  [[nodiscard]] std::int64_t saved_step() const { return saved_step_; }
  /// errors  Error(Exit::io) on all ranks if the last save could not be written. Collective
  void require_saved();

 private:
  void write(std::int64_t steps_done, const std::vector<float*>& whole_states);
  [[nodiscard]] bool root() const { return parts_.comm.rank() == 0; }

  SaverParts parts_;
  checkpoint::Store store_;
  std::int64_t saved_step_ = -1;
  std::string problem_;  // of the last save, "" if it went well
};

}  // namespace dlt::train

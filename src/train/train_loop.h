// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ddp/balance.h"
#include "train/comm_plan.h"
#include "train/evaluator.h"
#include "train/model_state.h"
#include "train/saver.h"
#include "train/session.h"
#include "train/trainer.h"

namespace dlt::train {

/// One run of a job on connected ranks: builds programs and state, then steps, evaluates, saves and
/// logs until the end. Every decision that changes what is sent comes from sums that all ranks
/// share.
class TrainLoop {
 public:
  TrainLoop(TrainJob& job, comm::Communicator& comm, const std::atomic<bool>& stop);
  RunSummary run();

 private:
  void open_run_folder();
  void require_same_job();
  void load_or_initialize();
  [[nodiscard]] TrainerParts parts(const autodiff::Program& program);
  [[nodiscard]] std::int64_t end_step() const;
  [[nodiscard]] std::unique_ptr<Trainer> make_trainer(const std::vector<int>& leaf_cuts);
  /// Moves leaves between ranks where that pays (comm.balance). Collective.
  void balance(std::unique_ptr<Trainer>& trainer);
  [[nodiscard]] ddp::Balancer make_balancer();
  /// Makes the step and all that follows from it. Returns false if the run ends behind it.
  bool advance(Trainer& trainer);
  void note_step(const Trainer& trainer, const StepReport& report, double step_s);
  void handle_nonfinite(const StepReport& report);
  void evaluate(Trainer& trainer);
  /// Whether the ranks must be equal after this many steps: where any of them is looked at.
  [[nodiscard]] bool equal_ranks_due(std::int64_t steps_done) const;
  /// Whether an evaluation follows this many steps.
  [[nodiscard]] bool evaluation_due(std::int64_t steps_done) const;
  void evaluate_as_scheduled(Trainer& trainer);
  [[nodiscard]] RunSummary summarize(Trainer& trainer);
  void write_manifest(const std::vector<std::string>& hosts);
  void write_summary(const RunSummary& summary);
  [[nodiscard]] bool root() const { return comm_->rank() == 0; }

  TrainJob* job_;
  comm::Communicator* comm_;
  const std::atomic<bool>* stop_;
  RunPaths paths_;
  Division division_;
  double start_s_;

  ThreadPool pool_;
  std::unique_ptr<autodiff::Program> train_program_, eval_program_;
  CommPlan plan_;
  std::unique_ptr<ModelState> state_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<Saver> saver_;
  std::optional<ddp::Balancer> balancer_;

  std::int64_t step_ = 0;  // steps done
  bool preempted_ = false;
  double train_s_ = 0;  // time spent in steps
  std::int64_t train_samples_ = 0;
  std::vector<double> epoch_sums_;
  std::vector<double> rank_compute_s_;  // of the last step
  double interval_s_ = 0;               // since the last step event
  std::int64_t interval_samples_ = 0;
  MetricValues last_eval_;
  std::int64_t evaluated_step_ = -1;
  MetricValues last_train_;
};

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ddp/balance.h"
#include "train/comm_plan.h"
#include "train/device_room.h"
#include "train/evaluator.h"
#include "train/gpu_link.h"
#include "train/gpu_meter.h"
#include "train/hash_chain.h"
#include "train/model_state.h"
#include "train/saver.h"
#include "train/session.h"
#include "train/step_tracer.h"
#include "train/trainer.h"

namespace dlt::train {

struct TroubleReport;

/// One run of a job on connected ranks: builds programs and state, then steps, evaluates, saves and
/// logs until the end. Every decision that changes what is sent comes from sums that all ranks
/// share.
class TrainLoop {
 public:
  TrainLoop(TrainJob& job, comm::Communicator& comm, const std::atomic<bool>& stop);
  RunSummary run();

 private:
  void mark(observe::Phase phase) const;
  void open_run_folder();
  void log_start();
  void tell_gpus();
  void make_evaluation();
  void make_meter();
  void make_tracer();
  void write_trace();
  [[nodiscard]] DevicePlan device_plan();
  [[nodiscard]] DeviceRoom device_room() const;
  /// Where make() finds no room on the device: says what needs how much.
  void allocate(const std::function<void()>& make);
  void note_initial_weights();
  void require_same_job();
  void load_or_initialize();
  [[nodiscard]] TrainerParts parts(const autodiff::Program& program);
  /// The state that the run goes on from is a checkpoint of its own.
  [[nodiscard]] bool saved_here() const;
  [[nodiscard]] std::int64_t end_step() const;
  [[nodiscard]] std::unique_ptr<Trainer> make_trainer(const std::vector<int>& leaf_cuts);
  /// Moves leaves between ranks where that pays (comm.balance). Collective.
  void balance(std::unique_ptr<Trainer>& trainer);
  [[nodiscard]] ddp::Balancer make_balancer();
  /// Makes the step and all that follows from it. Returns false if the run ends behind it.
  bool advance(std::unique_ptr<Trainer>& trainer);
  void note_step(const Trainer& trainer, const StepReport& report, double step_s);
  [[nodiscard]] TrainerRange trainer_range() const;
  [[nodiscard]] NumericsAction action_on(Trouble trouble) const;
  /// Does what the config asks for about a step with bad numbers. Collective; the trainer may be
  /// gone if a rollback follows. errors  Error(Exit::numerics) on all ranks if the run is to halt
  void handle_trouble(std::unique_ptr<Trainer>& trainer, const StepReport& report);
  void look_closer(std::unique_ptr<Trainer>& trainer, TroubleReport& report);
  void require_finite_params(Trainer& trainer, const TroubleReport& report);
  void plan_rollback(const TroubleReport& report);
  [[nodiscard]] std::optional<checkpoint::Checkpoint> load_before(std::int64_t steps_done);
  /// To the newest state at or before the bad step, which is skipped from then on. Collective.
  void require_initial_weights();
  void roll_back(std::unique_ptr<Trainer>& trainer);
  /// Evaluates where a plateau waits for it.
  void make_up_evaluation(Trainer& trainer);
  [[nodiscard]] double effective_time() const;
  void tell_bad_samples();
  /// The step's line of hashes.jsonl. Collective with shards.
  void log_hashes(Trainer& trainer, const StepReport& report);
  /// Different ones that the ranks have seen. Collective.
  [[nodiscard]] std::int64_t count_bad_samples();
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
  tensor::Backend* device_;  // that leaves run on
  GpuLink gpus_;
  Division division_;
  double start_s_;
  std::unique_ptr<StepTracer> tracer_;  // with log.trace_steps; before whoever marks

  ThreadPool pool_;
  std::unique_ptr<autodiff::Program> train_program_, eval_program_;
  CommPlan plan_;
  std::unique_ptr<ModelState> state_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<GpuMeter> meter_;     // of rank 0, with a GPU
  std::unique_ptr<FlatHasher> hasher_;  // of rank 0, with log.hashes
  std::unique_ptr<HashChain> hashes_;
  std::unique_ptr<Saver> saver_;
  std::optional<ddp::Balancer> balancer_;

  std::int64_t step_ = 0;                      // steps done
  std::int64_t first_step_ = 0;                // those done when this process began
  std::optional<std::int64_t> rollback_from_;  // the bad step: steps done before it
  std::int64_t last_skip_ = -1, skipped_in_a_row_ = 0;
  data::BadSamples bad_train_, bad_eval_;  // seen by this rank
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

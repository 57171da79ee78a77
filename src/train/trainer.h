// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "comm/communicator.h"
#include "comm/device_communicator.h"
#include "data/loader.h"
#include "data/sampler.h"
#include "ddp/reducer.h"
#include "observe/pulse.h"
#include "optim/updater.h"
#include "train/kernel_times.h"
#include "train/leaf_runner.h"
#include "train/model_state.h"
#include "train/run_config.h"
#include "train/running_statistics.h"

namespace dlt::train {

class LocalSteps;
class ResidentStep;
class StepWatch;
class SyncedLeaves;
struct CommPlan;

/// What all ranks of a job share; everything must outlive the trainer.
struct TrainerParts {
  const RunConfig& config;
  const autodiff::Program& program;
  tensor::Backend& backend;  // the host's
  comm::Communicator& comm;
  ThreadPool& pool;  // num_workers() leaves at once
  const Clock& clock;
  std::string host;
  StepWatch* watch = nullptr;       // told of what kernels make; null: nobody is
  data::BadSamples* bad = nullptr;  // with data.on_bad: skip; null: bad samples are errors
  const CommPlan* plan = nullptr;   // of a trainer; null: buckets of fixed sizes, no shards
  observe::Pulse& pulse = observe::silent_pulse();
  std::int64_t generation = 0;               // as Surroundings'
  tensor::Backend* device = nullptr;         // that the program was made for; null: backend
  comm::DeviceCommunicator* gpus = nullptr;  // between the ranks' devices; null: by way of the host
  [[nodiscard]] tensor::Backend& leaf_device() const {
    return device != nullptr ? *device : backend;
  }
  /// Workers of the pool that run leaves: the first alone gives a GPU its work.
  [[nodiscard]] int num_leaf_workers() const {
    return leaf_device().in_host_memory() ? pool.num_workers() : 1;
  }
};

struct TrainerRange {
  int num_leaves = 1;
  std::int64_t first_step = 0;
  std::int64_t end_step = 0;        // one past the last step
  std::int64_t total_steps = 0;     // what the schedule is stretched over
  std::vector<int> leaf_cuts = {};  // as ddp::LeafDivision's; empty: balanced
};

struct StepRequest {
  bool stop_wanted = false;      // a signal asks this rank to stop
  bool want_norm = false;        // fill in grad_norm even if nothing needs it
  ddp::SaveWord save = {};       // what this rank says about saving
  bool compare_weights = false;  // the ranks' weights before this step, as comm.verify_every does
  bool time_kernels = false;     // fill in kernels; the step is not captured
};

struct StepReport {
  std::int64_t step = 0;  // counted from 0
  std::int64_t epoch = 0;
  std::int64_t samples = 0;  // of all ranks
  std::span<const double> sums;
  double learning_rate = 0;
  double grad_norm = -1;  // of the mean gradient, before clipping; -1: not computed
  bool stop = false;      // some rank was asked to stop
  bool finite = true;
  bool counts = true;               // an update was made, or would have been with samples
  Trouble trouble = Trouble::none;  // what is wrong with it; listed: nothing was read or sent
  double zscore = 0;                // of the loss, where numerics.on_spike looks at it
  double loss_scale = 0;            // with train.precision: fp16
  std::optional<ddp::SaveWord> save = {};  // what all ranks say; none: they sent nothing
  std::span<const double> rank_compute_s;  // compute_s of each rank
  double compute_s = 0, comm_exposed_s = 0, data_wait_s = 0, update_s = 0;
  std::span<const ddp::BucketTimes> buckets;  // of this rank; empty with one rank
  /// Of each worker's leaves, where they were to be timed; until the next step.
  std::span<const std::vector<KernelSpan>> kernels;
};

/// Whether a bucket's update may be made before the others' gradients and the control word are
/// there. Not if a norm has a say in it, nor if a step that is not finite must leave no trace. If
/// the control word then says that the step does not count, or its loss is not finite, parameters
/// are left half updated; but the run ends, without a checkpoint, or goes back to an earlier state.
[[nodiscard]] bool updates_as_buckets_land(const RunConfig& config);

/// Makes training steps: leaves forward and backward on the workers, reduction along the leaf tree,
/// a fused update over the flat buffers, bucket by bucket where nothing global decides about it.
/// With shards a step ends while parameters are still on their way; the next one's forward pass
/// waits for those it reads. Allocates nothing once the first step is done.
class Trainer {
 public:
  Trainer(const TrainerParts& parts, const data::Dataset& dataset, ModelState& state,
          const TrainerRange& range);
  ~Trainer();

  /// The next step. errors  the failure of any rank is thrown on all of them. A step whose loss or
  /// gradient is not finite, or whose loss is a spike that is not to count, makes no update; the
  /// caller decides what follows. A step that state.numerics() lists when the trainer is made does
  /// nothing, and sends nothing: what request asks for is asked again in the next.
  StepReport step(const StepRequest& request);

  /// Makes the replicas equal where ranks update by themselves (comm.sync_every); else nothing.
  /// Collective.
  void synchronise();
  /// All rows of carried states to all ranks, for another division of the leaves. Collective.
  void gather_carried();
  /// What a compression carries, for a checkpoint.
  [[nodiscard]] ddp::ReductionState reduction_state() const { return reducer_.reduction_state(); }
  [[nodiscard]] ddp::LeafDivision leaf_division() const;
  /// Brings what of the state is on a device to the host's buffers.
  void fetch();
  /// fetch(), and makes parameters and average whole on this rank, for whoever reads or changes
  /// them between steps. Collective with shards.
  void settle();
  /// The reduced sum of the last step's gradients, until the next step; of this rank's leaves alone
  /// with comm.sync_every, and of its slices alone with shards.
  [[nodiscard]] const float* reduced_gradients() const;
  /// Sums of a leaf of this rank in the last step.
  [[nodiscard]] std::span<const double> leaf_sums(int leaf) { return reducer_.sums_of(leaf); }
  [[nodiscard]] ddp::LeafRange rank_leaves() const { return reducer_.rank_leaves(); }
  [[nodiscard]] const std::vector<int>& leaf_cuts() const { return range_.leaf_cuts; }
  /// Whether a step that does not count has left the parameters as they were.
  [[nodiscard]] bool keeps_params() const { return !updates_early_; }
  [[nodiscard]] const data::Sampler& sampler() const { return sampler_; }
  [[nodiscard]] const SumLayout& sum_layout() const { return sums_; }
  [[nodiscard]] std::int64_t gradient_bytes() const { return reducer_.buffer_bytes(); }
  [[nodiscard]] std::int64_t loader_bytes() const;
  [[nodiscard]] int world_size() const { return parts_.comm.world_size(); }

 private:
  struct Worker;
  void make_workers(const data::Dataset& dataset);
  StepReport make_step(const StepRequest& request);
  [[nodiscard]] StepReport begin_report() const;
  [[nodiscard]] StepReport pass_over(StepReport report);
  void finish_local();
  void judge(StepReport& report);
  [[nodiscard]] double loss_scale() const;
  [[nodiscard]] double reduced_norm();
  [[nodiscard]] bool follow_loss_scale(StepReport& report);
  void mark(observe::Phase phase) const;
  void run_all_leaves();
  void run_worker(int index);
  void run_leaves(Worker& worker, int index);
  void finish_leaf(Worker& worker, int index);
  [[nodiscard]] bool begins_epoch() const;
  [[nodiscard]] std::uint64_t due_weights_hash(bool asked);
  void throw_failure();
  [[nodiscard]] optim::StepUpdate step_update(const StepReport& report, double scale) const;
  void update_as_buckets_land(StepReport& report);
  [[nodiscard]] bool gathers() const;
  void update_statistics(double weight_sum);
  void leaves_given();
  void give_leaf(Worker& worker, int index, const data::LeafBatch& batch, std::uint64_t epoch);
  [[nodiscard]] float* leaf_gradients(int worker, int leaf);
  void finish_update(StepReport& report, const StepRequest& request, double weight_sum);
  [[nodiscard]] bool wants_norm(const StepRequest& request) const;
  [[nodiscard]] double own_weight(const ddp::StepResult& result);

  TrainerParts parts_;
  ModelState* state_;
  TrainerRange range_;
  std::unique_ptr<CommPlan> plan_;
  data::Sampler sampler_;
  SumLayout sums_;
  ddp::Reducer reducer_;
  RunningStatisticsUpdate running_statistics_;
  optim::Updater updater_;
  std::optional<data::Augment> augment_;  // before the workers, whose loaders use it
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<SyncedLeaves> synced_;    // in place of workers, where the program needs it
  std::unique_ptr<LocalSteps> local_;       // where ranks update by themselves
  std::unique_ptr<ResidentStep> resident_;  // where all state stays on a device
  bool update_given_ = false;               // of the step at hand, to a device
  bool time_kernels_ = false;               // of the step at hand
  std::vector<std::vector<KernelSpan>> kernels_;
  optim::StepUpdate early_update_;    // of the step at hand, as far as it is known beforehand
  std::vector<double> rank_weights_;  // of a step's samples
  std::function<void(int)> run_worker_task_;
  std::int64_t next_step_ = 0;
  std::vector<std::int64_t> skipped_;  // steps that are passed over
  std::vector<double> no_sums_;        // of such a step
  bool updates_early_ = false;         // as buckets land
  bool average_in_parts_ = false;      // each rank has moved its shard of the average alone
};

}  // namespace dlt::train

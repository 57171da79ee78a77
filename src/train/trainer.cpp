// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/kill_point.h"
#include "base/text.h"
#include "ddp/replica.h"
#include "train/comm_options.h"
#include "train/comm_plan.h"
#include "train/engine.h"
#include "train/local_steps.h"
#include "train/resident_step.h"
#include "train/synced_leaves.h"
#include "train/trainer_worker.h"

namespace dlt::train {
namespace {

bool updates_locally(const TrainerParts& parts) {
  return parts.config.sync_every > 1 && parts.comm.world_size() > 1;
}

/// Where the ranks of a host share parameters and the whole of the optimiser's state: the slices
/// that each updates.
std::optional<ddp::ShardPlan> host_slices(const TrainerParts& parts, const CommPlan& plan,
                                          const ModelState& state) {
  if (state.host() == nullptr || plan.shards) return {};
  return ddp::ShardPlan(parts.program.layout(), plan.buckets, state.host()->local_size());
}

/// With a state that is resident on a device the reducer carries the step's sums and control word
/// alone.
ddp::ReducerOptions reducer_options(const TrainerParts& parts, const TrainerRange& range,
                                    const CommPlan& plan, const ModelState& state, int num_sums) {
  const bool resident = ResidentStep::why_not(parts).empty();
  ddp::ReducerOptions options = reducer_options_of(parts.config, parts.program, plan,
                                                   {.num_leaves = range.num_leaves,
                                                    .num_workers = parts.num_leaf_workers(),
                                                    .world_size = parts.comm.world_size()});
  options.leaf_cuts = range.leaf_cuts;
  options.num_sums = num_sums;
  options.timeout_s = parts.config.fault.hang_timeout_s;
  options.generation = parts.generation;
  options.pulse = &parts.pulse;
  if (!resident) {
    options.gathers = state.host() == nullptr;
    options.host_slices = host_slices(parts, plan, state);
    return options;
  }
  options.total = 0;
  options.buckets.clear();
  options.everywhere.clear();
  options.reduction = ddp::Reduction::none;
  options.compression = {};
  options.ranges.clear();
  return options;
}

/// What this rank updates: its shard, or its slices of what its host shares, or all.
std::optional<optim::Shard> shard_to_update(const TrainerParts& parts, const CommPlan& plan,
                                            const ModelState& state) {
  const std::optional<ddp::ShardPlan> slices = host_slices(parts, plan, state);
  if (!slices) return plan.shard_of(parts.comm.rank());
  optim::Shard shard;
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    const ddp::Bucket mine = slices->slice(b, state.host()->local_rank());
    // The state's buffers are whole.
    if (mine.begin < mine.end) shard.ranges.push_back({mine.begin, mine.end, mine.begin});
  }
  return shard;
}

optim::UpdaterOptions updater_options(const TrainerParts& parts, const CommPlan& plan,
                                      const ModelState& state, ddp::Reducer& reducer) {
  optim::UpdaterOptions out{.excluded = statistic_names(*parts.config.model),
                            .shard = shard_to_update(parts, plan, state),
                            .add_up = [&reducer, host = state.host()](std::span<double> numbers) {
                              host != nullptr ? host->add_up(numbers) : reducer.add_up(numbers);
                            }};
  if (parts.config.clip_value) out.clip_value = *parts.config.clip_value;
  return out;
}

std::unique_ptr<CommPlan> plan_of(const TrainerParts& parts) {
  if (parts.plan != nullptr) return std::make_unique<CommPlan>(*parts.plan);
  return std::make_unique<CommPlan>(
      CommPlan{.buckets = ddp::plan_buckets(parts.program.layout(), parts.config.bucket_bytes)});
}

std::optional<data::Augment> make_augment(const RunConfig& config, const data::Dataset& dataset) {
  if (!config.augment.any()) return {};
  return data::Augment(
      config.augment,
      {.input = config.model->input_shape(),
       .target = dataset.target_shape(),
       .target_kind = config.target.labels() ? data::TargetKind::labels : data::TargetKind::values,
       .num_classes = config.target.num_classes},
      config.seed);
}

/// Nothing but the norm of its gradient decides about a step's update.
bool needs_no_decision(const RunConfig& config) {
  // The weight of bad samples is known from the step's sums alone.
  return !decides_before_update(config.numerics) && !config.skip_bad_samples &&
         !config.optimizer->adapts() && !config.scales_loss();
}

}  // namespace

bool updates_as_buckets_land(const RunConfig& config) {
  return !config.clip_norm && needs_no_decision(config);
}

Trainer::Trainer(const TrainerParts& parts, const data::Dataset& dataset, ModelState& state,
                 const TrainerRange& range)
    : parts_(parts),
      state_(&state),
      range_(range),
      plan_(plan_of(parts)),
      sampler_({.num_rows = dataset.num_rows(),
                .global_batch_size = parts.config.global_batch_size,
                .num_leaves = range.num_leaves,
                .shuffle = parts.config.shuffle,
                .streams = parts.config.streams,
                .seed = parts.config.seed}),
      sums_{.metrics = &parts.config.metrics,
            .labels = parts.config.target.labels(),
            .positions = parts.config.positions,
            .hashes = parts.config.hashes},
      reducer_(parts.comm, reducer_options(parts, range, *plan_, state, sums_.size())),
      running_statistics_(parts.config.model->running_statistics(), parts.program.layout()),
      updater_(*parts.config.optimizer, parts.program.layout(), parts.backend, parts.pool,
               updater_options(parts, *plan_, state, reducer_)),
      augment_(make_augment(parts.config, dataset)),
      next_step_(range.first_step),
      skipped_(state.numerics().skipped()),
      updates_early_(parts.comm.world_size() > 1 && updates_as_buckets_land(parts.config) &&
                     !updates_locally(parts)) {
  DLT_CHECK(plan_->shards.has_value() == state.shard().has_value(),
            "state and communication are cut into the same shards");
  state.errors().restore(parts.program.layout(), reducer_.reduction_state(), parts.comm.rank(),
                         parts.comm.world_size());
  if (!state.carried().specs().empty() && !parts.config.streams) {
    throw Error(Exit::config, "stateful layers need data.streams: true");
  }
  if (ResidentStep::why_not(parts_).empty()) {
    parts_.leaf_device().enter_thread();
    resident_ =
        std::make_unique<ResidentStep>(parts_, state, reducer_.rank_leaves(), range_.num_leaves);
  }
  make_workers(dataset);
  if (!updates_locally(parts_)) return;
  local_ = std::make_unique<LocalSteps>(parts_.comm, state);
  rank_weights_.resize(static_cast<std::size_t>(parts_.comm.world_size()));
}

Trainer::~Trainer() = default;

/// What runs the leaves: workers, or where leaves wait for each other what runs all of them.
void Trainer::make_workers(const data::Dataset& dataset) {
  workers_.resize(static_cast<std::size_t>(parts_.num_leaf_workers()));
  run_worker_task_ = [this](int worker) { run_worker(worker); };
  // Each thread makes what it will use, so that memory is first touched where it is needed.
  const bool synced = parts_.program.num_segments() > 1;
  parts_.pool.run([&](int worker) {
    parts_.backend.enter_thread();
    if (worker >= parts_.num_leaf_workers()) return;
    parts_.leaf_device().enter_thread();
    if (synced) return;
    if (reducer_.worker_leaves(worker).size() == 0) return;
    workers_[static_cast<std::size_t>(worker)] = std::make_unique<Worker>(*this, dataset, worker);
  });
  if (!synced) return;
  synced_ = std::make_unique<SyncedLeaves>(SyncedLeaves::Options{.parts = parts_,
                                                                 .dataset = dataset,
                                                                 .sampler = sampler_,
                                                                 .params = state_->params(),
                                                                 .carried = &state_->carried(),
                                                                 .sums = sums_,
                                                                 .range = range_,
                                                                 .division = leaf_division(),
                                                                 .skip_steps = skipped_},
                                           reducer_);
}

ddp::LeafDivision Trainer::leaf_division() const {
  return range_.leaf_cuts.empty() ? ddp::LeafDivision(range_.num_leaves, parts_.comm.world_size())
                                  : ddp::LeafDivision(range_.leaf_cuts);
}

void Trainer::gather_carried() { state_->carried().gather(parts_.comm, leaf_division()); }

std::int64_t Trainer::loader_bytes() const {
  std::int64_t total = synced_ ? synced_->buffer_bytes() : 0;
  for (const auto& worker : workers_) total += worker ? worker->loader.buffer_bytes() : 0;
  return total;
}

void Trainer::run_all_leaves() {
  if (synced_) {
    (void)reducer_.wait_gathered(0);
    synced_->run(next_step_, static_cast<std::uint64_t>(sampler_.epoch_of(next_step_)),
                 begins_epoch() ? nullptr : &state_->carried());
  } else {
    parts_.pool.run(run_worker_task_);
  }
}

void Trainer::mark(observe::Phase phase) const {
  parts_.pulse.mark({.phase = phase, .step = next_step_});
}

bool Trainer::begins_epoch() const { return next_step_ % sampler_.steps_per_epoch() == 0; }

void Trainer::throw_failure() {
  std::optional<Error> mine;
  std::vector<std::exception_ptr> failures;
  for (const auto& worker : workers_) failures.push_back(worker ? worker->failure : nullptr);
  if (synced_) failures.push_back(synced_->failure());
  for (const std::exception_ptr& failure : failures) {
    if (!failure || mine) continue;
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      mine = error;
    } catch (const std::exception& error) {
      mine = Error(Exit::internal, cat("step ", next_step_, ": ", error.what()));
    }
  }
  ddp::agree_on_failure(parts_.comm, parts_.host, mine);
  throw Error(Exit::internal,
              cat("step ", next_step_, ": a rank reported a failure and then denied it"));
}

StepReport Trainer::begin_report() const {
  StepReport report;
  report.step = next_step_;
  report.epoch = sampler_.epoch_of(next_step_);
  report.samples = sampler_.step_samples(next_step_);
  report.learning_rate =
      parts_.config.optimizer->learning_rate() * state_->plateau().factor *
      optim::schedule_factor(parts_.config.schedule, report.step, range_.total_steps);
  return report;
}

/// A step that is listed as one to skip: all ranks know, so nothing need be said.
StepReport Trainer::pass_over(StepReport report) {
  no_sums_.assign(static_cast<std::size_t>(sums_.size()), 0.0);
  report.samples = 0;
  report.sums = no_sums_;
  report.trouble = Trouble::listed;
  report.counts = false;
  state_->carried().clear();
  ++next_step_;
  finish_local();
  return report;
}

void Trainer::finish_local() {
  if (local_ && next_step_ % parts_.config.sync_every == 0) synchronise();
}

StepReport Trainer::step(const StepRequest& request) {
  try {
    return make_step(request);
  } catch (...) {
    // What the GPU still waits for may never come, and no memory can be freed before it stops to.
    if (resident_) resident_->give_up();
    throw;
  }
}

StepReport Trainer::make_step(const StepRequest& request) {
  StepReport report = begin_report();
  if (std::binary_search(skipped_.begin(), skipped_.end(), next_step_)) return pass_over(report);
  // The hash comes first: of a replica that is shared others soon update their slices.
  ddp::ControlWord control{.stop = request.stop_wanted ? 1 : 0,
                           .weights_hash = due_weights_hash(request.compare_weights),
                           .save = request.save};
  const double start = parts_.clock.monotonic_s();
  reducer_.begin_step(next_step_);
  early_update_ = step_update(report, 1.0 / static_cast<double>(report.samples));
  update_given_ = false;
  time_kernels_ = request.time_kernels;
  kernels_.assign(time_kernels_ ? workers_.size() : 0, {});
  if (resident_) resident_->begin_step(next_step_);
  run_all_leaves();
  if (state_->host() != nullptr) state_->host()->arrive();

  double param_wait_s = 0;
  for (const auto& worker : workers_) {
    if (!worker) continue;
    report.data_wait_s = std::max(report.data_wait_s, worker->data_wait_s);
    param_wait_s = std::max(param_wait_s, worker->param_wait_s);
    if (worker->failure) control.error = static_cast<std::int32_t>(Exit::internal);
  }
  if (synced_ && synced_->failure()) control.error = static_cast<std::int32_t>(Exit::internal);
  const double computed = parts_.clock.monotonic_s();
  const double waits_s = param_wait_s + reducer_.stalled_s();
  report.compute_s = computed - start - report.data_wait_s - waits_s;
  if (local_ && wants_norm(request)) {
    report.grad_norm = updater_.gradient_norm(reducer_.reduced());
    control.nonfinite = std::isfinite(report.grad_norm) ? 0 : 1;
  }
  control.compute_s = report.compute_s;
  mark(observe::Phase::reduce);
  reducer_.close_step(control);
  const bool early = updates_early_ && control.error == 0;
  if (early && !resident_) update_as_buckets_land(report);
  const ddp::StepResult& result = reducer_.finish_step();
  if (result.control.error != 0) throw_failure();
  if (result.replicas_differ) {
    ddp::require_equal_replicas(parts_.comm, parts_.host, next_step_, control.weights_hash);
  }

  report.sums = result.sums;
  report.rank_compute_s = result.rank_compute_s;
  report.stop = result.control.stop != 0;
  report.save = result.control.save;
  report.finite = std::isfinite(result.sums[0]) && result.control.nonfinite == 0;
  // The gradient at hand is that of all samples, or that of this rank's.
  finish_update(report, request, (local_ ? own_weight(result) : result.sums[1]) * loss_scale());
  report.comm_exposed_s = waits_s + reducer_.exposed_s();
  report.buckets = reducer_.times();
  report.kernels = kernels_;
  ++next_step_;
  const double updated = parts_.clock.monotonic_s();
  finish_local();
  if (local_) report.comm_exposed_s += parts_.clock.monotonic_s() - updated;
  return report;
}

/// Of the weights this step's leaves used, if asked for and once in comm.verify_every steps; else
/// 0.
std::uint64_t Trainer::due_weights_hash(bool asked) {
  const std::int64_t every = parts_.config.verify_every;
  const bool due = asked || (every > 0 && next_step_ > 0 && next_step_ % every == 0);
  if (!due || parts_.comm.world_size() == 1) return 0;
  if (local_ && !local_->synchronised()) return 0;
  if (gathers()) (void)reducer_.wait_gathered(0);
  return std::max<std::uint64_t>(1, resident_ ? resident_->replica_hash() : state_->replica_hash());
}

optim::StepUpdate Trainer::step_update(const StepReport& report, double scale) const {
  return {.params = state_->params(),
          .grads = reducer_.reduced(),
          .states = &state_->states(),
          .average = state_->average(),
          .average_weight = state_->averaging().weight_at(report.step),
          .step = report.step,
          .learning_rate = report.learning_rate,
          .grad_scale = scale};
}

/// A sample's weight is 1 and padding's 0, so that the sum of weights is known before the message
/// that brings it; finish_update() compares the two.
void Trainer::update_as_buckets_land(StepReport& report) {
  optim::StepUpdate update = step_update(report, 1.0 / static_cast<double>(report.samples));
  for (std::size_t first = 0; first < plan_->buckets.size();) {
    const std::size_t landed = reducer_.wait_for_bucket(first);
    // Until here ranks of this host may have been reading the parameters that it updates.
    if (first == 0 && state_->host() != nullptr) state_->host()->wait_for_all();
    mark(observe::Phase::update);
    const double before = parts_.clock.monotonic_s();
    update.begin = plan_->buckets[first].begin;
    update.end = plan_->buckets[landed - 1].end;
    DLT_KILL_POINT(update_before);
    updater_.update(update);
    DLT_KILL_POINT(update_after);
    report.update_s += parts_.clock.monotonic_s() - before;
    first = landed;
  }
}

/// All of the update that had to wait for the step's sums.
void Trainer::finish_update(StepReport& report, const StepRequest& request, double weight_sum) {
  const double before = parts_.clock.monotonic_s();
  const double exposed_before_s = reducer_.exposed_s();
  mark(observe::Phase::update);
  if (local_) {
    report.grad_norm = report.grad_norm >= 0 && weight_sum > 0 ? report.grad_norm / weight_sum : -1;
  } else if (wants_norm(request)) {
    report.grad_norm = reduced_norm();
    if (!std::isfinite(report.grad_norm)) report.finite = false;
    report.grad_norm = weight_sum > 0 ? report.grad_norm / weight_sum : -1;
  }
  const bool overflow = follow_loss_scale(report);
  judge(report);
  const NumericsAction on_spike = parts_.config.numerics.on_spike;
  report.counts = report.trouble == Trouble::none ||
                  (report.trouble == Trouble::spike && on_spike == NumericsAction::warn);
  if (overflow) report.counts = false;
  // A rank that updates by itself may have no sample in a short last batch.
  if (report.counts && weight_sum > 0) {
    if (!resident_) update_statistics(weight_sum);
    if (updates_early_) {
      DLT_CHECK(weight_sum == static_cast<double>(report.samples),
                cat("step ", report.step, " has ", report.samples,
                    " samples, but their weights sum to ", weight_sum));
    } else {
      double scale = 1.0 / weight_sum;
      if (parts_.config.clip_norm && report.grad_norm > *parts_.config.clip_norm) {
        scale *= *parts_.config.clip_norm / report.grad_norm;
      }
      DLT_KILL_POINT(update_before);
      if (resident_) {
        resident_->update(step_update(report, scale), weight_sum);
      } else {
        updater_.update(step_update(report, scale));
      }
      DLT_KILL_POINT(update_after);
    }
    if (gathers()) {
      average_in_parts_ = average_in_parts_ || state_->averaging().weight_at(report.step) != 0;
      reducer_.begin_gather(state_->params_storage());
    }
    // Where the step's message came behind the update, all have met already.
    const bool met = updates_early_ && reducer_.main_thread_ends_step() &&
                     parts_.config.model->running_statistics().empty();
    if (state_->host() != nullptr && !met) state_->host()->meet();
  } else if (!report.counts) {
    state_->carried().clear();
  }
  report.update_s +=
      parts_.clock.monotonic_s() - before - (reducer_.exposed_s() - exposed_before_s);
}

/// Whether parameters come from the ranks that updated them by messages.
bool Trainer::gathers() const { return plan_->shards && state_->host() == nullptr; }

void Trainer::update_statistics(double weight_sum) {
  const bool others = state_->host() != nullptr && !state_->host()->is_writer();
  if (!others) running_statistics_.run(state_->params(), reducer_.reduced(), weight_sum);
}

double Trainer::reduced_norm() {
  if (!resident_) return updater_.gradient_norm(reducer_.reduced());
  const bool clipped = updates_early_ && parts_.config.clip_norm.has_value();
  return clipped ? resident_->clipped_norm() : resident_->gradient_norm();
}

double Trainer::loss_scale() const {
  return parts_.config.scales_loss() ? state_->numerics().scaler.scale : 1.0;
}

/// True if the step makes no update because its scale was too large for its gradient, and the next
/// one has a smaller scale.
bool Trainer::follow_loss_scale(StepReport& report) {
  if (!parts_.config.scales_loss()) return false;
  report.loss_scale = loss_scale();
  optim::LossScaler& scaler = state_->numerics().scaler;
  if (report.finite) {
    scaler.note_good();
    return false;
  }
  if (!std::isfinite(report.sums[0]) || !scaler.note_overflow()) return false;
  report.finite = true;
  report.grad_norm = -1;
  return true;
}

/// From numbers that all ranks share.
void Trainer::judge(StepReport& report) {
  if (!report.finite) report.trouble = Trouble::nonfinite;
  const NumericsOptions& options = parts_.config.numerics;
  if (!report.finite || options.on_spike == NumericsAction::off || !(report.sums[1] > 0)) return;
  LossTracker& tracker = state_->numerics().tracker;
  const double loss = sums_.loss(report.sums);
  report.zscore = tracker.zscore(options, loss);
  if (report.zscore > options.spike_zscore) report.trouble = Trouble::spike;
  tracker.observe(options, loss);
}

/// A gradient that is not finite must be seen in its own step, or another one would be blamed.
bool Trainer::wants_norm(const StepRequest& request) const {
  return request.want_norm || parts_.config.clip_norm.has_value() || parts_.config.scales_loss() ||
         parts_.config.numerics.on_nonfinite != NumericsAction::halt;
}

/// Weight of this rank's samples in the step; notes those of all.
double Trainer::own_weight(const ddp::StepResult& result) {
  const std::size_t num_sums = result.sums.size();
  for (std::size_t r = 0; r < rank_weights_.size(); ++r) {
    rank_weights_[r] = result.rank_sums[r * num_sums + 1];
  }
  if (std::isfinite(result.sums[0]) && result.control.nonfinite == 0) local_->note(rank_weights_);
  return rank_weights_[static_cast<std::size_t>(parts_.comm.rank())];
}

void Trainer::synchronise() {
  if (local_) mark(observe::Phase::reduce);
  if (local_) local_->synchronise(parts_.comm);
}

const float* Trainer::reduced_gradients() const {
  return resident_ ? resident_->fetch_gradients() : reducer_.reduced();
}

void Trainer::fetch() {
  if (resident_) resident_->fetch_state();
}

void Trainer::settle() {
  fetch();
  (void)reducer_.wait_gathered(0);
  if (!average_in_parts_) return;
  reducer_.begin_gather(state_->average_storage());
  (void)reducer_.wait_gathered(0);
  average_in_parts_ = false;
}

}  // namespace dlt::train

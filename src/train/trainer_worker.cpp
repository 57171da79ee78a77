// SPDX-License-Identifier: Apache-2.0
#include "train/trainer_worker.h"

#include "base/error.h"
#include "base/kill_point.h"
#include "train/comm_plan.h"
#include "train/step_watch.h"

namespace dlt::train {
namespace {

LeafResidence leaf_residence(ResidentStep* resident) {
  if (resident == nullptr) return {};
  return {.state = Residence::device,
          .wait = [resident](const tensor::Event& event) { resident->wait(event); }};
}

}  // namespace

Trainer::Worker::Worker(Trainer& owner, const data::Dataset& dataset, int worker)
    : reducer(&owner.reducer_),
      pulse(&owner.parts_.pulse),
      id(worker),
      resident(owner.resident_.get()),
      runner(owner.parts_.program, owner.parts_.leaf_device(),
             resident != nullptr ? resident->params() : owner.state_->params(), owner.sums_,
             owner.parts_.config.seed, leaf_residence(resident)),
      loader(dataset, owner.sampler_,
             {.first_leaf = owner.reducer_.worker_leaves(worker).begin,
              .num_leaves = owner.reducer_.worker_leaves(worker).size(),
              .first_step = owner.range_.first_step,
              .end_step = owner.range_.end_step,
              .num_threads = static_cast<int>(owner.parts_.config.data_workers.value_or(-1)),
              .augment = owner.augment_ ? &*owner.augment_ : nullptr,
              .skip_steps = owner.skipped_,
              .bad = owner.parts_.bad}) {
  if (owner.reducer_.worker_leaves(worker).size() > 1) runner.keep_copies();
  if (owner.plan_->shards) runner.bind_gate(this);
  if (resident != nullptr) resident->bind(*runner.queue());
}

void Trainer::run_worker(int index) {
  if (index >= static_cast<int>(workers_.size())) return;
  Worker* worker = workers_[static_cast<std::size_t>(index)].get();
  if (worker == nullptr) return;
  worker->data_wait_s = worker->param_wait_s = 0;
  worker->under_way.clear();
  try {
    run_leaves(*worker, index);
  } catch (...) {
    worker->failure = std::current_exception();
    reducer_.worker_failed(index);
  }
}

void Trainer::run_leaves(Worker& worker, int index) {
  const int num_leaves = reducer_.worker_leaves(index).size();
  const auto epoch = static_cast<std::uint64_t>(sampler_.epoch_of(next_step_));
  worker.runner.params_changed();
  if (time_kernels_ && !worker.times) {
    worker.times = std::make_unique<KernelTimes>(parts_.leaf_device(), parts_.clock);
  }
  worker.runner.bind_timer(time_kernels_ ? worker.times.get() : nullptr);
  if (parts_.config.scales_loss()) worker.runner.scale_weights(loss_scale());
  for (int leaf = 0; leaf < num_leaves; ++leaf) {
    worker.leaf = leaf;
    worker.mark = {.step = next_step_, .leaf = reducer_.worker_leaves(index).begin + leaf};
    worker.mark.row = sampler_.first_row(next_step_, worker.mark.leaf);
    worker.tell(observe::Phase::data);
    const double before = parts_.clock.monotonic_s();
    const data::LeafBatch& batch = worker.loader.next();
    worker.data_wait_s += parts_.clock.monotonic_s() - before;
    if (batch.count == 0) {
      while (worker.under_way.size() > 0) finish_leaf(worker, index);
      if (resident_) resident_->leaf_empty(leaf);
      reducer_.leaf_empty(index, leaf);
      continue;
    }
    CarriedState& carried = state_->carried();
    const std::int64_t first_row =
        carried.first_row(reducer_.worker_leaves(index).begin + leaf, range_.num_leaves);
    if (parts_.watch != nullptr) worker.runner.bind_watch(parts_.watch->leaf(batch.leaf));
    worker.runner.carry_in(begins_epoch() ? nullptr : &carried, first_row, batch.count);
    worker.tell(observe::Phase::forward);
    DLT_KILL_POINT(leaf_before_forward);
    give_leaf(worker, index, batch, epoch);
    worker.under_way.push({.leaf = leaf, .first_row = first_row, .count = batch.count});
    if (worker.under_way.size() == worker.runner.depth()) finish_leaf(worker, index);
  }
  if (resident_) leaves_given();
  while (worker.under_way.size() > 0) finish_leaf(worker, index);
  if (time_kernels_) kernels_[static_cast<std::size_t>(index)] = worker.times->take();
}

/// A whole step of one leaf is recorded, update and all, where nothing in it depends on a decision
/// of the host; of several leaves, each by itself.
void Trainer::give_leaf(Worker& worker, int index, const data::LeafBatch& batch,
                        std::uint64_t epoch) {
  float* gradients = leaf_gradients(index, worker.leaf);
  if (time_kernels_) worker.times->start(worker.runner.queue());
  if (!resident_ || !resident_->records() || time_kernels_) {
    worker.runner.submit(batch, epoch, gradients, &worker);
    return;
  }
  LeafRunner::Recorded recorded{.key = static_cast<std::size_t>(worker.leaf), .tail = {}};
  if (updates_early_ && resident_->num_leaves() == 1 && resident_->updates_alone()) {
    const double weight_sum = 1.0 / early_update_.grad_scale;
    resident_->begin_update(early_update_, weight_sum);
    recorded.tail = [this, weight_sum] { resident_->give_update(early_update_, weight_sum); };
    update_given_ = true;
  }
  worker.runner.submit_recorded(batch, epoch, gradients, &worker, recorded);
}

float* Trainer::leaf_gradients(int worker, int leaf) {
  return resident_ ? resident_->leaf_gradients(leaf) : reducer_.leaf_gradients(worker, leaf);
}

void Trainer::finish_leaf(Worker& worker, int index) {
  const Worker::UnderWay leaf = worker.under_way.pop();
  worker.leaf = leaf.leaf;
  const auto sums = worker.runner.finish(leaf_gradients(index, leaf.leaf), &worker);
  if (resident_) reducer_.gradients_final(index, leaf.leaf, 0);
  DLT_KILL_POINT(leaf_after_backward);
  worker.runner.carry_out(state_->carried(), leaf.first_row, leaf.count);
  reducer_.leaf_sums(index, leaf.leaf, sums);
}

/// The device has all leaves of the step: what decides nothing more follows at once.
void Trainer::leaves_given() {
  if (!updates_early_ || update_given_) return;
  mark(observe::Phase::update);
  DLT_KILL_POINT(update_before);
  const double weight_sum = 1.0 / early_update_.grad_scale;
  if (resident_->updates_alone()) {
    resident_->begin_update(early_update_, weight_sum);
    resident_->give_update(early_update_, weight_sum);
  } else {
    resident_->update(early_update_, weight_sum);
  }
  DLT_KILL_POINT(update_after);
}

}  // namespace dlt::train

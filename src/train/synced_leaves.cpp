// SPDX-License-Identifier: Apache-2.0
#include "train/synced_leaves.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tensor/storage.h"
#include "train/step_watch.h"

namespace dlt::train {

/// Gradients go to a buffer of the leaf's own first, so only the supervisor need know how far they
/// are.
struct SyncedLeaves::Leaf final : autodiff::GradientSink {
  Leaf(const Options& options, int leaf_number)
      : number(leaf_number),
        pulse(&options.parts.pulse),
        runner(options.parts.program, options.parts.leaf_device(), options.params, options.sums,
               options.parts.config.seed),
        loader(options.dataset, options.sampler,
               {.first_leaf = leaf_number,
                .num_leaves = 1,
                .first_step = options.range.first_step,
                .end_step = options.range.end_step,
                .num_threads = static_cast<int>(options.parts.config.data_workers.value_or(-1)),
                .skip_steps = options.skip_steps,
                .bad = options.parts.bad}),
        gradients(tensor::Storage::allocate(options.parts.program.layout().total *
                                            static_cast<std::int64_t>(sizeof(float)))) {
    if (options.parts.watch != nullptr) runner.bind_watch(options.parts.watch->leaf(number));
  }
  void backward_begins() override { tell(observe::Phase::backward); }
  void gradients_final(std::int64_t) override { tell(observe::Phase::backward); }
  void tell(observe::Phase phase) {
    mark.phase = phase;
    pulse->mark(mark);
  }

  int number;  // of all leaves of the job
  observe::Pulse* pulse;
  observe::Mark mark;  // of the step at hand
  LeafRunner runner;
  data::Loader loader;
  tensor::Storage gradients;
  const data::LeafBatch* batch = nullptr;
};

struct SyncedLeaves::Worker {
  int id = 0;
  std::vector<std::unique_ptr<Leaf>> leaves;  // none of them moves
  std::exception_ptr failure;
};

SyncedLeaves::SyncedLeaves(const Options& options, ddp::Reducer& reducer)
    : parts_(options.parts),
      reducer_(&reducer),
      division_(options.division),
      num_leaves_(options.range.num_leaves),
      num_segments_(options.parts.program.num_segments()),
      sampler_(&options.sampler),
      carried_(options.carried) {
  std::vector<ddp::TreeNode> nodes;
  for (int leaf = 0; leaf < num_leaves_; ++leaf) nodes.push_back({0, leaf});
  plan_ = ddp::merge(nodes, num_leaves_);
  const auto n = static_cast<std::size_t>(options.parts.program.max_sync_numel());
  mine_.resize(static_cast<std::size_t>(division_.most_leaves()) * n);
  all_.resize(mine_.size() * static_cast<std::size_t>(division_.world_size()));
  by_leaf_.resize(static_cast<std::size_t>(num_leaves_));
  workers_.resize(static_cast<std::size_t>(parts_.num_leaf_workers()));
  parts_.pool.run([&](int id) {
    if (id >= parts_.num_leaf_workers()) return;
    parts_.leaf_device().enter_thread();
    auto worker = std::make_unique<Worker>();
    worker->id = id;
    const ddp::LeafRange range = reducer_->worker_leaves(id);
    for (int leaf = range.begin; leaf < range.end; ++leaf)
      worker->leaves.push_back(std::make_unique<Leaf>(options, leaf));
    workers_[static_cast<std::size_t>(id)] = std::move(worker);
  });
}

SyncedLeaves::~SyncedLeaves() = default;

std::int64_t SyncedLeaves::buffer_bytes() const {
  std::int64_t total = 0;
  for (const auto& worker : workers_) {
    for (const auto& one : worker->leaves) {
      Leaf& leaf = *one;
      total += leaf.loader.buffer_bytes() +
               parts_.program.layout().total * static_cast<std::int64_t>(sizeof(float));
    }
  }
  return total;
}

std::exception_ptr SyncedLeaves::failure() const {
  for (const auto& worker : workers_) {
    if (worker->failure) return worker->failure;
  }
  return nullptr;
}

void SyncedLeaves::each_worker(void (SyncedLeaves::*part)(Worker&)) {
  parts_.pool.run([this, part](int id) {
    if (id >= parts_.num_leaf_workers()) return;
    Worker& worker = *workers_[static_cast<std::size_t>(id)];
    if (worker.failure) return;
    try {
      (this->*part)(worker);
    } catch (...) {
      worker.failure = std::current_exception();
    }
  });
}

void SyncedLeaves::run(std::int64_t step, std::uint64_t epoch, const CarriedState* before) {
  step_ = step;
  epoch_ = epoch;
  before_ = before;
  for (const auto& worker : workers_) worker->failure = nullptr;
  each_worker(&SyncedLeaves::load);
  for (segment_ = 0; segment_ < num_segments_; ++segment_) {
    each_worker(&SyncedLeaves::run_segment);
    if (segment_ + 1 < num_segments_) exchange();
  }
  each_worker(&SyncedLeaves::hand_over);
  for (const auto& worker : workers_) {
    if (worker->failure) reducer_->worker_failed(worker->id);
  }
}

void SyncedLeaves::load(Worker& worker) {
  for (const auto& one : worker.leaves) {
    Leaf& leaf = *one;
    leaf.mark = {
        .step = step_, .leaf = leaf.number, .row = sampler_->first_row(step_, leaf.number)};
    leaf.tell(observe::Phase::data);
    leaf.batch = &leaf.loader.next();
    if (leaf.batch->count == 0) continue;
    leaf.runner.carry_in(before_, carried_->first_row(leaf.number, num_leaves_), leaf.batch->count);
    leaf.runner.begin(*leaf.batch, reinterpret_cast<float*>(leaf.gradients.data()));
  }
}

void SyncedLeaves::run_segment(Worker& worker) {
  for (const auto& one : worker.leaves) {
    Leaf& leaf = *one;
    if (leaf.batch->count == 0) continue;
    leaf.tell(segment_ == 0 ? observe::Phase::forward : leaf.mark.phase);
    leaf.runner.run_segment(segment_, *leaf.batch, epoch_, &leaf);
  }
}

void SyncedLeaves::exchange() {
  const std::int64_t n = parts_.program.sync_numel(segment_);
  const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
  std::fill(mine_.begin(), mine_.end(), 0.0F);
  const int first = reducer_->rank_leaves().begin;
  for (const auto& worker : workers_) {
    for (const auto& one : worker->leaves) {
      Leaf& leaf = *one;
      if (worker->failure || leaf.batch->count == 0) continue;
      std::memcpy(mine_.data() + (leaf.number - first) * n, leaf.runner.sync_values(segment_),
                  bytes);
    }
  }
  const std::int64_t rank_floats = division_.most_leaves() * n;
  parts_.pulse.mark({.phase = observe::Phase::reduce, .step = step_});
  parts_.comm.allgather(mine_.data(), all_.data(),
                        rank_floats * static_cast<std::int64_t>(sizeof(float)));
  for (int rank = 0; rank < parts_.comm.world_size(); ++rank) {
    const ddp::LeafRange range = division_.of(rank);
    for (int leaf = range.begin; leaf < range.end; ++leaf) {
      by_leaf_[static_cast<std::size_t>(leaf)] =
          all_.data() + rank * rank_floats + (leaf - range.begin) * n;
    }
  }
  for (const ddp::Addition& addition : plan_.additions) {
    float* dst = by_leaf_[static_cast<std::size_t>(addition.dst)];
    const float* src = by_leaf_[static_cast<std::size_t>(addition.src)];
    for (std::int64_t i = 0; i < n; ++i) dst[i] += src[i];
  }
  const float* total = by_leaf_[static_cast<std::size_t>(plan_.results.front())];
  for (const auto& worker : workers_) {
    for (const auto& one : worker->leaves) {
      Leaf& leaf = *one;
      if (worker->failure || leaf.batch->count == 0) continue;
      std::memcpy(leaf.runner.sync_values(segment_), total, bytes);
    }
  }
}

void SyncedLeaves::hand_over(Worker& worker) {
  const std::int64_t total = parts_.program.layout().total;
  for (std::size_t i = 0; i < worker.leaves.size(); ++i) {
    Leaf& leaf = *worker.leaves[i];
    const int index = static_cast<int>(i);
    if (leaf.batch->count == 0) {
      reducer_->leaf_empty(worker.id, index);
      continue;
    }
    const auto sums = leaf.runner.finish(reinterpret_cast<float*>(leaf.gradients.data()), nullptr);
    std::memcpy(reducer_->leaf_gradients(worker.id, index), leaf.gradients.data(),
                static_cast<std::size_t>(total) * sizeof(float));
    reducer_->gradients_final(worker.id, index, total);
    reducer_->leaf_sums(worker.id, index, sums);
    leaf.runner.carry_out(*carried_, carried_->first_row(leaf.number, num_leaves_),
                          leaf.batch->count);
  }
}

}  // namespace dlt::train

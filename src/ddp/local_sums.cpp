// SPDX-License-Identifier: Apache-2.0
#include "ddp/local_sums.h"

#include <algorithm>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "ddp/sum.h"

namespace dlt::ddp {

std::int64_t buffer_stride_bytes(std::int64_t total) {
  // Not whole pages from buffer to buffer: equal low address bits would make a load wait for the
  // store of another buffer's element.
  constexpr std::int64_t kPageOfSums_bytes = 4096;
  const std::int64_t used_bytes = total * static_cast<std::int64_t>(sizeof(float));
  return (used_bytes + kPageOfSums_bytes - 1) / kPageOfSums_bytes * kPageOfSums_bytes +
         2 * tensor::kAlignment_bytes;
}

namespace {

void release_pages(float* begin, float* end) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page;
  const std::uintptr_t last = reinterpret_cast<std::uintptr_t>(end) / page * page;
  // Advice only: where it fails, the memory stays.
  if (first < last) (void)::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

LocalSums::LocalSums(Options options) : options_(std::move(options)) {
  workers_.resize(static_cast<std::size_t>(options_.num_workers));
  for (int w = 0; w < options_.num_workers; ++w) plan_worker_buffers(w);
  plan_join();
  workers_left_ = std::make_unique<std::atomic<int>[]>(num_buckets());
}

LeafRange LocalSums::worker_leaves(int worker) const {
  return split(options_.leaves, options_.num_workers, worker);
}

void LocalSums::plan_worker_buffers(int worker) {
  Worker& w = workers_[static_cast<std::size_t>(worker)];
  const LeafRange leaves = worker_leaves(worker);
  if (leaves.size() == 0) return;
  ++num_active_;
  w.plan = plan_worker(leaves, options_.num_leaves);
  const std::int64_t stride_bytes = buffer_stride_bytes(options_.total);
  std::byte* memory = memory_for(w);
  for (int b = 0; b < w.plan.num_buffers; ++b) {
    w.buffers.push_back(reinterpret_cast<float*>(memory + stride_bytes * b));
  }
}

std::byte* LocalSums::memory_for(Worker& worker) {
  const std::int64_t num_bytes = buffer_stride_bytes(options_.total) * worker.plan.num_buffers;
  const std::int64_t taken_bytes = std::exchange(buffer_bytes_, buffer_bytes_ + num_bytes);
  if (options_.memory != nullptr) return options_.memory + taken_bytes;
  worker.memory = tensor::Storage::allocate(num_bytes);
  if (options_.releases) {
    // A huge page of which a part is given back would be filled up again behind our back.
    (void)::madvise(worker.memory.data(), static_cast<std::size_t>(num_bytes), MADV_NOHUGEPAGE);
  }
  return worker.memory.data();
}

std::int64_t LocalSums::planned_bytes(const Options& options) {
  std::int64_t num_buffers = 0;
  for (int w = 0; w < options.num_workers; ++w) {
    const LeafRange leaves = split(options.leaves, options.num_workers, w);
    num_buffers += plan_worker(leaves, options.num_leaves).num_buffers;
  }
  return num_buffers * buffer_stride_bytes(options.total);
}

void LocalSums::plan_join() {
  std::vector<TreeNode> nodes;
  for (const Worker& w : workers_) {
    nodes.insert(nodes.end(), w.plan.nodes.begin(), w.plan.nodes.end());
    for (const int buffer : w.plan.results) {
      nodes_.push_back(w.buffers[static_cast<std::size_t>(buffer)]);
    }
  }
  MergePlan plan = merge(nodes, options_.num_leaves);
  DLT_CHECK(plan.nodes == cover(options_.leaves, options_.num_leaves),
            "the workers' sums make the nodes that cover the rank's leaves");
  join_ = std::move(plan.additions);
  if (options_.one_sum && plan.results.size() > 1) {
    for (std::size_t i = 1; i < plan.results.size(); ++i) {
      join_.push_back({.dst = plan.results[0], .src = plan.results[i]});
    }
    plan.results.resize(1);
  }
  for (const int node : plan.results) results_.push_back(nodes_[static_cast<std::size_t>(node)]);
}

void LocalSums::begin_step() {
  for (Worker& w : workers_) w.leaf = w.next_bucket = 0;
  for (std::size_t b = 0; b < num_buckets(); ++b) {
    workers_left_[b].store(num_active_, std::memory_order_relaxed);
  }
}

float* LocalSums::leaf_gradients(int worker, int index) const {
  const Worker& w = workers_[static_cast<std::size_t>(worker)];
  const LeafStep& step = w.plan.steps[static_cast<std::size_t>(index)];
  return w.buffers[static_cast<std::size_t>(step.buffer)];
}

bool LocalSums::begins_or_goes_on(int worker, int index, std::int64_t prefix) const {
  const Worker& w = workers_[static_cast<std::size_t>(worker)];
  const auto leaf = static_cast<std::size_t>(index);
  if (leaf + 1 == w.leaf && prefix == options_.total) return false;  // said twice
  DLT_CHECK(leaf == w.leaf && leaf < w.plan.steps.size(),
            cat("worker ", worker, " is at its leaf ", w.leaf, " of ", w.plan.steps.size(),
                ", got gradients of leaf ", index));
  return true;
}

/// The next bucket of the worker's leaf is final; true if it now is in the whole rank.
bool LocalSums::leaf_bucket_final(Worker& worker) {
  const Bucket& bucket = options_.buckets[worker.next_bucket];
  run_additions(worker.buffers, worker.plan.steps[worker.leaf].additions, bucket.begin, bucket.end);
  return worker.leaf + 1 == worker.plan.steps.size() && worker_bucket_final(worker.next_bucket);
}

bool LocalSums::worker_bucket_final(std::size_t bucket) {
  // Release: this worker's sums; acquire: all the others', for the one that is last.
  if (workers_left_[bucket].fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  run_additions(nodes_, join_, options_.buckets[bucket].begin, options_.buckets[bucket].end);
  return true;
}

bool LocalSums::written_once() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& w) { return w.plan.steps.size() <= 1; });
}

void LocalSums::release(std::size_t bucket, const Bucket& keep) {
  const Bucket& range = options_.buckets[bucket];
  for (const Worker& w : workers_) {
    for (float* buffer : w.buffers) {
      const bool keeps = !results_.empty() && buffer == results_[0];
      release_pages(buffer + range.begin, buffer + (keeps ? keep.begin : range.end));
      if (keeps) release_pages(buffer + keep.end, buffer + range.end);
    }
  }
}

bool LocalSums::finished(int worker) const {
  const Worker& w = workers_[static_cast<std::size_t>(worker)];
  return w.leaf == w.plan.steps.size();
}

}  // namespace dlt::ddp

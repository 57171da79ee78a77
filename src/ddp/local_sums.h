// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ddp/bucket_plan.h"
#include "ddp/leaf_tree.h"
#include "tensor/storage.h"

namespace dlt::ddp {

/// From one of a worker's flat gradient buffers to the next.
[[nodiscard]] std::int64_t buffer_stride_bytes(std::int64_t total);

/// The part of the leaf tree inside a rank: each worker sums its own leaves bucket by bucket as
/// their gradients become final, and the worker that is last with a bucket joins the workers' sums.
class LocalSums {
 public:
  struct Options {
    std::int64_t total = 0;
    std::vector<Bucket> buckets;
    int num_leaves = 1;
    LeafRange leaves;  // of this rank
    int num_workers = 1;
    bool releases = false;        // release() will be called
    bool one_sum = false;         // add up the covering nodes, too, if there are several
    std::byte* memory = nullptr;  // zeroed, planned_bytes() of it, for the buffers; null: its own
  };
  [[nodiscard]] static std::int64_t planned_bytes(const Options& options);
  explicit LocalSums(Options options);

  [[nodiscard]] LeafRange worker_leaves(int worker) const;
  /// Whether any worker has a leaf: if not, there is nothing to wait for.
  [[nodiscard]] bool any_leaves() const { return num_active_ > 0; }
  /// Flat buffers that hold cover(leaves) in the end (one_sum: their sum, in one), left to right.
  [[nodiscard]] const std::vector<float*>& results() const { return results_; }
  [[nodiscard]] std::int64_t buffer_bytes() const { return buffer_bytes_; }

  /// Before the workers start.
  void begin_step();
  [[nodiscard]] float* leaf_gradients(int worker, int index) const;
  /// Worker: elements [0, prefix) of its leaf are final. Calls rank_final(bucket) for each bucket
  /// that this makes final in the whole rank.
  template <typename RankFinal>
  void gradients_final(int worker, int index, std::int64_t prefix, RankFinal rank_final) {
    if (!begins_or_goes_on(worker, index, prefix)) return;
    Worker& w = workers_[static_cast<std::size_t>(worker)];
    for (; w.next_bucket < num_buckets() && options_.buckets[w.next_bucket].end <= prefix;
         ++w.next_bucket) {
      if (leaf_bucket_final(w)) rank_final(w.next_bucket);
    }
    if (prefix == options_.total) {
      ++w.leaf;
      w.next_bucket = 0;
    }
  }
  /// Worker, or anybody after the workers: what the worker still owes counts as final as it is.
  template <typename RankFinal>
  void give_up(int worker, RankFinal rank_final) {
    Worker& w = workers_[static_cast<std::size_t>(worker)];
    if (finished(worker)) return;
    // Buckets count only in a worker's last leaf.
    const bool in_last = w.leaf + 1 == w.plan.steps.size();
    for (std::size_t b = in_last ? w.next_bucket : 0; b < num_buckets(); ++b) {
      if (worker_bucket_final(b)) rank_final(b);
    }
    w.leaf = w.plan.steps.size();
  }
  [[nodiscard]] bool finished(int worker) const;

  /// No worker has more than one leaf: what is reduced of a step is not written again.
  [[nodiscard]] bool written_once() const;
  /// Gives the memory of a bucket back to the system, but for `keep` of the first result; it reads
  /// as zeros afterwards. Whole pages only.
  void release(std::size_t bucket, const Bucket& keep);

 private:
  struct Worker {
    WorkerPlan plan;
    tensor::Storage memory;
    std::vector<float*> buffers;
    std::size_t leaf = 0;         // index of the leaf under way
    std::size_t next_bucket = 0;  // of that leaf
  };
  [[nodiscard]] std::size_t num_buckets() const { return options_.buckets.size(); }
  void plan_worker_buffers(int worker);
  [[nodiscard]] std::byte* memory_for(Worker& worker);
  void plan_join();
  [[nodiscard]] bool begins_or_goes_on(int worker, int index, std::int64_t prefix) const;
  [[nodiscard]] bool leaf_bucket_final(Worker& worker);
  [[nodiscard]] bool worker_bucket_final(std::size_t bucket);

  Options options_;
  std::vector<Worker> workers_;
  int num_active_ = 0;  // workers that have a leaf
  std::int64_t buffer_bytes_ = 0;
  std::vector<float*> nodes_;                         // the workers' results, left to right
  std::vector<Addition> join_;                        // of nodes_
  std::vector<float*> results_;                       // those of nodes_ that hold the rank's sums
  std::unique_ptr<std::atomic<int>[]> workers_left_;  // a bucket's workers that are not through
};

}  // namespace dlt::ddp

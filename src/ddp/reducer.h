// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/bucket_reduction.h"
#include "ddp/leaf_tree.h"

namespace dlt::ddp {

struct ReducerOptions {
  std::int64_t total = 0;  // elements of the flat gradient buffer
  std::vector<Bucket> buckets;
  int num_leaves = 1;
  std::vector<int> leaf_cuts;  // as LeafDivision's; empty: balanced
  int num_workers = 1;         // threads of this rank that run leaves
  int num_sums = 2;            // doubles each leaf adds to the step's message
  Reduction reduction = Reduction::exact;
  bool overlap = true;    // false: buckets move only after the whole backward pass
  double timeout_s = 30;  // longest wait for one of a step's messages once the workers are done
  [[nodiscard]] LeafDivision division(int world_size) const {
    return leaf_cuts.empty() ? LeafDivision(num_leaves, world_size) : LeafDivision(leaf_cuts);
  }
};

/// What all ranks decide together at the end of a step. Flags are combined by maximum over ranks.
struct ControlWord {
  std::int32_t stop = 0;   // a signal asked for it: save, then exit 75
  std::int32_t error = 0;  // Exit code of a failure on this rank, 0 if none
};
struct StepResult {
  ControlWord control;
  int error_rank = -1;       // lowest rank whose error is not 0
  std::vector<double> sums;  // num_sums totals over all leaves, added along the leaf tree
};

/// Carries the gradients and sums of a step: workers write leaf gradients where they are told, the
/// leaf tree is summed inside the rank as gradients become final, and a communication thread
/// finishes the tree across ranks bucket by bucket while backward still runs. The step's control
/// word travels with the loss sums, in one message behind the last bucket. Every rank sends the
/// same messages in the same order in every step, also after a failure of its own.
class Reducer {
 public:
  /// comm is duplicated for the communication thread (none with one rank). Collective.
  Reducer(comm::Communicator& comm, ReducerOptions options);
  /// Never waits for another rank: a communication thread that is stuck in a call is left behind
  /// with all that it uses.
  ~Reducer();

  /// Leaves of this rank, and of one of its workers.
  [[nodiscard]] LeafRange rank_leaves() const;
  [[nodiscard]] LeafRange worker_leaves(int worker) const;

  /// Main thread: before the workers of a step start.
  void begin_step(std::int64_t step);
  /// Worker: where the gradients of its leaf (index within worker_leaves) are to be written. The
  /// same address in all steps. Gaps between parameters are zero and to be left so.
  [[nodiscard]] float* leaf_gradients(int worker, int index);
  /// Worker: elements [0, prefix) of that buffer are final. prefix never falls within a leaf, ends
  /// at total.
  void gradients_final(int worker, int index, std::int64_t prefix);
  /// Worker: a leaf that has no sample in this step; its gradients and sums count as zero. Instead
  /// of the two above. (Its gradients are +0.0: a sum that would be -0.0 becomes +0.0, on any
  /// ranks.)
  void leaf_empty(int worker, int index);
  /// Worker: the leaf's sums (num_sums doubles). Any time before the worker ends its step.
  void leaf_sums(int worker, int index, std::span<const double> sums);
  /// Worker: it failed; all that it still owes counts as final with arbitrary content.
  void worker_failed(int worker);
  /// Main thread, after the workers: sends the control word, waits for all buckets.
  /// errors  Error(Exit::peer_lost) "rank 1: waited 30 s for bucket 3 of step 812" if nothing moved
  ///         for timeout_s, or what the communicator threw; the reducer is of no use afterwards
  /// A worker that still owes gradients counts as failed: Exit::internal, unless control has an
  /// error. The result is valid until the next finish_step.
  const StepResult& finish_step(const ControlWord& control);
  /// The reduced sum of gradients (not divided by anything), valid until the next begin_step. The
  /// same address in all steps.
  [[nodiscard]] float* reduced() const;

  /// Seconds the last finish_step really waited for communication.
  [[nodiscard]] double exposed_s() const;
  /// Bytes of gradient buffers this rank holds.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::ddp

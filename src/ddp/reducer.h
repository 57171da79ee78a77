// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/bucket_reduction.h"
#include "ddp/leaf_tree.h"
#include "ddp/save_word.h"
#include "ddp/shard_plan.h"
#include "observe/pulse.h"
#include "tensor/storage.h"

namespace dlt::ddp {

struct ReducerOptions {
  std::int64_t total = 0;  // elements of the flat gradient buffer
  std::vector<Bucket> buckets;
  int num_leaves = 1;
  std::vector<int> leaf_cuts;  // as LeafDivision's; empty: balanced
  int num_workers = 1;         // threads of this rank that run leaves
  int num_sums = 2;            // doubles each leaf adds to the step's message
  Reduction reduction = Reduction::exact;
  CompressionOptions compression = {};     // of Reduction::exact
  std::vector<GradientRange> ranges = {};  // what it does to which elements
  bool overlap = true;                     // false: buckets move only after the whole backward pass
  std::optional<ShardPlan> shards =
      {};  // of these buckets: reduced() holds this rank's slices alone
  std::vector<Bucket> everywhere = {};  // ... and these ranges, which every rank needs
  bool gathers = true;                  // begin_gather() will be called, with shards
  /// Slices of these buckets for the ranks of a host, by local rank, who update one replica
  /// together. Where all ranks are on one host and share memory a bucket has landed once this
  /// rank's slice has; the others' have when finish_step() is through.
  std::optional<ShardPlan> host_slices = {};
  /// With shards: what a rank needs no more of a reduced bucket is given back to the system, and
  /// workers are kept from running more than kBuckets_ahead buckets ahead of the reduction. Has no
  /// effect where a worker has several leaves, or without overlap.
  bool release = false;
  double timeout_s = 30;  // longest wait for one of a step's messages once the workers are done
  /// exact: reduce over memory that the ranks of a host share. Not with release, which gives memory
  /// back of which others may know nothing; with shards only where all ranks are on one host.
  bool shared_memory = true;
  std::int64_t generation = 0;  // of the supervisor's start; part of every message's stamp
  observe::Pulse* pulse = &observe::silent_pulse();  // told of waits for other ranks
  [[nodiscard]] std::int64_t flat_bytes() const {
    return total * static_cast<std::int64_t>(sizeof(float));
  }
  /// errors  Error(Exit::internal) if they do not fit together
  void check() const;
  /// Whether ranks on these hosts will share memory, if there is any.
  [[nodiscard]] bool wants_shared_memory(const comm::Hosts& hosts) const;
  [[nodiscard]] LeafDivision division(int world_size) const {
    return leaf_cuts.empty() ? LeafDivision(num_leaves, world_size) : LeafDivision(leaf_cuts);
  }
};

/// Buckets that are final in a worker and not reduced, at most, where memory is given back.
inline constexpr int kBuckets_ahead = 2;

/// What all ranks decide together at the end of a step. Combined by maximum over ranks.
struct ControlWord {
  std::int32_t stop = 0;           // a signal asked for it: save, then exit 75
  std::int32_t error = 0;          // Exit code of a failure on this rank, 0 if none
  std::uint64_t weights_hash = 0;  // of this rank's replica, to be compared; 0: not in this step
  double compute_s = 0;            // what this rank's leaves took, for whoever balances
  std::int64_t nonfinite = 0;      // this rank's own gradient (Reduction::none) is not finite
  SaveWord save = {};              // combined as it says
};
struct StepResult {
  ControlWord control;
  int error_rank = -1;            // lowest rank whose error is not 0
  bool replicas_differ = false;   // the ranks' weights_hash are not all the same
  std::vector<double> sums;       // num_sums totals over all leaves, added along the leaf tree
  std::vector<double> rank_sums;  // of the leaves of each rank, num_sums a rank
  std::vector<double> rank_compute_s;
};

/// When a bucket of a step moved, in seconds since begin_step.
struct BucketTimes {
  double ready_s = 0;     // its last gradient of this rank was final
  double started_s = 0;   // its communication began
  double finished_s = 0;  // its sum was there
  double waited_s = 0;    // time for which the step did nothing but wait for it
};

/// Carries the gradients and sums of a step: workers write leaf gradients where they are told, the
/// leaf tree is summed inside the rank as gradients become final, and a communication thread
/// finishes the tree across ranks bucket by bucket while backward still runs. Where all ranks share
/// memory, what is left is additions, and the main thread makes them when it waits for a bucket.
/// The step's control word travels with the loss sums, in one message behind the last bucket. Every
/// rank sends the same messages in the same order in every step, also after a failure of its own.
class Reducer {
 public:
  /// comm is duplicated (not with one rank). Collective.
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
  /// Main thread, behind finish_step until the next begin_step: what a leaf of this rank (of all
  /// leaves) gave there.
  [[nodiscard]] std::span<const double> sums_of(int leaf);
  /// Worker: it failed; all that it still owes counts as final with arbitrary content.
  void worker_failed(int worker);
  /// Main thread, after the workers: gives the control word to be sent behind the last bucket. A
  /// worker that still owes gradients counts as failed: Exit::internal, unless control has an
  /// error.
  void close_step(const ControlWord& control);
  /// Main thread, behind close_step: waits until this bucket of reduced() holds its sum (with
  /// host_slices: see there); returns how many buckets do, counted from the first. errors  as of
  /// finish_step
  std::size_t wait_for_bucket(std::size_t bucket);
  /// Main thread, behind close_step: waits for all buckets and the control word.
  /// errors  Error(Exit::peer_lost) "rank 1: waited 30 s for bucket 3 of step 812" if nothing moved
  ///         for timeout_s, or what the communicator threw; the reducer is of no use afterwards
  /// The result is valid until the next finish_step.
  const StepResult& finish_step();
  /// Both in one.
  const StepResult& finish_step(const ControlWord& control) {
    close_step(control);
    return finish_step();
  }
  /// The reduced sum of gradients (not divided by anything), valid until the next begin_step. The
  /// same address in all steps. With shards: see ReducerOptions.
  [[nodiscard]] float* reduced() const;

  /// Whether the step's message is sent by finish_step() itself, and so behind all that the main
  /// thread does before it.
  [[nodiscard]] bool main_thread_ends_step() const;

  /// What a compression carries from step to step; between steps, main thread.
  [[nodiscard]] ReductionState reduction_state() const;
  /// Main thread, outside a step: adds up each number over all ranks. Exact where all ranks but one
  /// give zero. Collective.
  void add_up(std::span<double> values);
  /// Main thread, outside a step, with shards: from now on the communication thread makes every
  /// rank's slices of this flat buffer known to all, the last bucket (whose parameters the forward
  /// pass reads first) before the others. Collective.
  void begin_gather(tensor::Storage flat);
  /// Any thread: waits until that is done for elements [from, total); how long that took, in
  /// seconds. At once if nothing is being gathered. errors  as of finish_step
  double wait_gathered(std::int64_t from);

  /// Seconds for which the last step did nothing but wait for communication.
  [[nodiscard]] double exposed_s() const;
  /// Longest time for which a worker of the last step was kept from running ahead, in seconds.
  [[nodiscard]] double stalled_s() const;
  /// Of each bucket of the last finished step; empty with one rank.
  [[nodiscard]] std::span<const BucketTimes> times() const;
  /// Bytes of gradient buffers this rank touches; those of a host's ranks overlap where they share.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::ddp

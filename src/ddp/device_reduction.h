// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/device_communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/bucket_reduction.h"
#include "ddp/leaf_tree.h"
#include "ddp/shard_plan.h"
#include "tensor/backend.h"

namespace dlt::ddp {

struct DeviceReductionOptions {
  int rank = 0;
  LeafDivision division;
  std::vector<Bucket> buckets;
  std::vector<float*> nodes;  // flat buffers of the GPU that hold cover(this rank's leaves), left
                              // to right
  float* reduced = nullptr;   // flat buffer of the result; may be nodes[0]
  std::optional<ShardPlan> shards = {};  // a rank needs the sum of its own slices alone
  Reduction kind = Reduction::exact;
  bool bf16 = false;                   // what crosses ranks is rounded to bf16; sums are f32
  std::vector<Bucket> unrounded = {};  // ascending ranges that cross as they are all the same
  tensor::Backend* device = nullptr;
  comm::DeviceCommunicator* comm = nullptr;  // null: one rank
};

/// Carries a step's buckets among the GPUs of all ranks, in a queue of its own beside the one that
/// computes. exact: the leaf tree of ReductionPlan, with the bits of one rank and of the host's
/// TreeReduction. fast: the nodes of a rank are added up, the rest is the library's. With bf16 all
/// nodes (fast: all ranks' sums) are rounded, also those that stay, so that all ranks have the same
/// sums; they are added in f32 in a fixed order, and the parts are rounded once more on their way
/// to the others.
///
/// enqueue() and join() may be captured, on the queue that computes. A step's calls are:
///   begin_step(s); { enqueue(0, q) ... enqueue(n - 1, q) in this order, join(b, q) behind
///   enqueue(b, q), at least join(n - 1, q) } or the replay of a capture of that; wait(q).
/// Why nothing is overwritten while somebody still reads it: nodes are sent, and the result is
/// written, by this queue's work, which what comes behind join(n - 1) follows. So join it before
/// nodes are written again. begin_step() may come before the wait() of earlier steps.
/// errors  those of the communicator and of the queues
class DeviceReduction {
 public:
  /// Allocates here only. errors  Error(Exit::unavailable) if the device has no kernel for the tree
  explicit DeviceReduction(DeviceReductionOptions options);
  ~DeviceReduction();
  DeviceReduction(const DeviceReduction&) = delete;
  DeviceReduction& operator=(const DeviceReduction&) = delete;

  void begin_step(std::int64_t step);
  /// This rank's nodes of the bucket are final behind what compute has been given.
  void enqueue(std::size_t bucket, tensor::Queue& compute);
  /// What compute is given from now on waits for the bucket's sum: with shards, for that of this
  /// rank's slice.
  void join(std::size_t bucket, tensor::Queue& compute);
  /// The host waits until what compute has been given is through. timeout_s 0: for ever.
  /// errors  Error(Exit::peer_lost) "rank 1: waited 30 s for bucket 3 of step 812: ..."
  void wait(tensor::Queue& compute, double timeout_s);
  /// With shards: from the ranks' slices of a flat buffer to all of it, on all ranks, in the
  /// queue's order.
  void gather(float* flat, tensor::Queue& queue);
  /// Memory of the GPU beside nodes and result.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::ddp

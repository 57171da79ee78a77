// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_reduction.h"
#include "ddp/reduction_plan.h"
#include "ddp/stamp.h"
#include "ddp/tree_sum.h"
#include "tensor/storage.h"

namespace dlt::ddp {

/// Finishes the leaf tree over all ranks, bucket by bucket, with the bits of one rank. On a host
/// each rank adds its slice straight from the buffers of its peers into the result they share;
/// between hosts the lanes exchange parts of their slices (ReductionPlan). Without shared memory
/// every rank counts as a host of its own. Allocates in the constructor only.
///
/// Why nothing is overwritten while somebody still reads it:
///   a rank's nodes   are written by its backward pass of step s+1, which follows its reduce() of
///                    all buckets of s, which waited until all peers had summed, and so read, s
///                    (with own_slices_first the message of s did, which follows their sums);
///   the result       is written in step s+1 by a rank that has seen the stamps final(s+1) of all
///                    peers, which each posts after it is through with the result of s
///                    (begin_step);
///   messages         leave from nodes and result only inside exchange(), which ends when all are
///                    sent.
/// A rank that fails posts all stamps and sends all messages like any other, with whatever content.
class TreeReduction final : public BucketReduction {
 public:
  explicit TreeReduction(BucketReductionOptions options);

  void begin_step(std::int64_t step) override;
  void bucket_final(std::size_t bucket) override;
  void reduce(comm::Communicator& comm, std::size_t bucket) override;
  [[nodiscard]] bool runs_inline() const override { return shared() && plan_.num_hosts() == 1; }
  [[nodiscard]] std::int64_t buffer_bytes() const override;

  /// The two halves of reduce(): this rank's part of the sum is in the result, all parts are.
  void sum_part(comm::Communicator& comm, std::size_t bucket);
  void gather_parts(comm::Communicator& comm, std::size_t bucket);
  /// What sum_part() finishes on this rank; empty on ranks beyond the lanes.
  [[nodiscard]] Bucket own_part(std::size_t bucket) const;

 private:
  [[nodiscard]] bool shared() const { return options_.memory != nullptr; }
  [[nodiscard]] bool in_lane() const { return lane_ < plan_.num_lanes(); }
  [[nodiscard]] Stamp stamp_of(std::size_t bucket) const;
  [[nodiscard]] const float* node(const NodeRef& ref) const;
  void plan_sums();
  void wait_for_nodes(comm::Communicator& comm, const Stamp& stamp);
  void wait_for_parts(comm::Communicator& comm, const Stamp& stamp);
  void exchange_nodes(comm::Communicator& comm, const Bucket& bucket, const Stamp& stamp);
  [[nodiscard]] float* sum_host_nodes(const Bucket& part, float* partial);
  void finish(const Bucket& part);
  void begin_messages(const Stamp& stamp);
  void add_stamps(int host);
  void exchange(comm::Communicator& comm);

  BucketReductionOptions options_;
  ReductionPlan plan_;
  int host_;
  int lane_;
  std::int64_t step_ = 0;
  std::int64_t sequence_ = 0;
  TreeSum host_sum_;  // from the nodes of this host's ranks to the host's
  TreeSum root_sum_;  // from those and what other hosts sent to the sum of all leaves
  tensor::Storage received_;
  tensor::Storage partial_;
  // Memory of a call, kept between calls.
  std::vector<const float*> sources_;
  std::vector<float*> results_;
  std::vector<const float*> received_nodes_;
  Stamp sent_stamp_;
  std::vector<Stamp> received_stamps_;  // by host
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
};

}  // namespace dlt::ddp

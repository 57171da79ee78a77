// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/bucket_reduction.h"
#include "ddp/leaf_tree.h"
#include "tensor/storage.h"

namespace dlt::ddp {

/// What each rank brings and finishes, and what that takes. Pure; the same on every rank.
class CrossRankPlan {
 public:
  explicit CrossRankPlan(const LeafDivision& division, std::optional<ShardPlan> shards = {});
  /// The rank that holds each of all ranks' covering nodes, left to right.
  [[nodiscard]] const std::vector<int>& owners() const { return owners_; }
  [[nodiscard]] const std::vector<Addition>& additions() const { return additions_; }
  /// The elements that `rank` finishes: its shard; without shards a part of the bucket, or all of a
  /// small one.
  [[nodiscard]] Bucket slice(const Bucket& bucket, int rank) const;
  [[nodiscard]] bool whole(const Bucket& bucket) const;
  [[nodiscard]] std::int64_t num_nodes(int rank) const;
  /// Bytes that a rank sends for a bucket.
  [[nodiscard]] std::int64_t sent_bytes(const Bucket& bucket, int rank) const;
  /// Bytes of the buffer for what a rank receives, for the largest of the buckets.
  [[nodiscard]] std::int64_t received_bytes(const std::vector<Bucket>& buckets, int rank) const;

 private:
  int world_size_;
  std::optional<ShardPlan> shards_;
  std::vector<int> owners_;
  std::vector<Addition> additions_;
};

/// Finishes the leaf tree across ranks, bucket by bucket. A bucket is cut into one slice a rank:
/// each rank sends slice s of its tree nodes to rank s, which finishes the tree there, and then all
/// collect the finished slices. A small bucket goes whole to everybody, in one round instead of
/// two. With shards the finished slices stay where they are. Allocates in the constructor only.
class CrossRank final : public BucketReduction {
 public:
  explicit CrossRank(BucketReductionOptions options);
  /// Destroys the content of the nodes' buffers within the bucket. Collective.
  void reduce(comm::Communicator& comm, std::size_t bucket) override;
  [[nodiscard]] std::int64_t buffer_bytes() const override { return received_.size_bytes(); }

 private:
  void gather_nodes(comm::Communicator& comm, const Bucket& bucket);
  void finish_tree(const Bucket& mine);
  void gather_slices(comm::Communicator& comm, const Bucket& bucket);

  BucketReductionOptions options_;
  CrossRankPlan plan_;
  tensor::Storage received_;
  // Memory of a call, kept between calls.
  std::vector<float*> sources_;  // where element 0 of my slice is, for each of all ranks' nodes
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
};

}  // namespace dlt::ddp

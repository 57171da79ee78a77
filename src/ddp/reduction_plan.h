// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/leaf_tree.h"
#include "ddp/shard_plan.h"

namespace dlt::ddp {

/// A covering node of one rank, or of one host.
struct NodeRef {
  int owner = 0;  // local index of the rank, or index of the host
  int index = 0;  // among its owner's nodes, left to right
  friend bool operator==(const NodeRef&, const NodeRef&) = default;
};

/// Nodes and what is to be added to make one's covering nodes of them.
struct NodeSum {
  std::vector<NodeRef> sources;     // left to right
  std::vector<Addition> additions;  // of sources
  std::vector<int> results;         // sources that hold the covering nodes then, left to right
  std::vector<TreeNode> nodes;      // what those are
};

/// Who sums and sends what, so that the fixed leaf tree is finished over ranks on several hosts.
/// Lane l is the ranks of local index l, one on each host; there are as many lanes as the smallest
/// host has ranks. A bucket is cut into one slice a lane, a slice into one part a host. The ranks
/// of a host first make the host's covering nodes of their own: one, where a host's leaves fill a
/// node (1, 2, 4 ... hosts of equally many, contiguous leaves; then a lane sends 2 (H - 1) / H of
/// its slice), at most about twice the tree's levels for a contiguous range, more where the host's
/// ranges are scattered. Pure; the same on every rank.
class ReductionPlan {
 public:
  /// With shards a rank finishes its shard and nobody gathers; as many ranks on each host.
  ReductionPlan(const LeafDivision& division, comm::Hosts hosts,
                std::optional<ShardPlan> shards = {});

  [[nodiscard]] const comm::Hosts& hosts() const { return hosts_; }
  [[nodiscard]] int num_hosts() const { return static_cast<int>(hosts_.size()); }
  [[nodiscard]] int num_lanes() const { return num_lanes_; }
  [[nodiscard]] int host_of(int rank) const;
  [[nodiscard]] int local_of(int rank) const;
  /// From the nodes of a host's ranks to the host's.
  [[nodiscard]] const NodeSum& host_sum(int host) const;
  /// From the nodes of all hosts to the sum of all leaves.
  [[nodiscard]] const NodeSum& root_sum() const { return root_; }

  /// What a lane reduces, without shards.
  [[nodiscard]] Bucket slice(const Bucket& bucket, int lane) const;
  /// The elements which the lane's rank on this host finishes: a part of the lane's slice, all of
  /// it in a small bucket, for which one round of messages is faster than two.
  [[nodiscard]] Bucket part(const Bucket& bucket, int lane, int host) const;
  [[nodiscard]] bool whole(const Bucket& bucket) const;
  /// Whether finished parts are to be gathered from other hosts.
  [[nodiscard]] bool gathers(const Bucket& bucket) const {
    return num_hosts() > 1 && !whole(bucket) && !shards_;
  }

  /// Rounds of messages that a rank takes part in for a bucket.
  [[nodiscard]] int num_rounds(const Bucket& bucket, int rank) const;
  /// Bytes that a rank sends for a bucket, stamps included.
  [[nodiscard]] std::int64_t sent_bytes(const Bucket& bucket, int rank) const;
  /// Bytes of a rank's buffer for what other hosts send, for the largest of the buckets.
  [[nodiscard]] std::int64_t received_bytes(const std::vector<Bucket>& buckets, int rank) const;
  /// Bytes of a rank's buffer for the host's nodes that it sums to send, likewise. The first of
  /// them needs none: it is summed where the result will be.
  [[nodiscard]] std::int64_t partial_bytes(const std::vector<Bucket>& buckets, int rank) const;
  /// Bytes of the buffers of other ranks on its host that a rank reads.
  [[nodiscard]] std::int64_t peer_bytes(const std::vector<Bucket>& buckets, int rank) const;

 private:
  void sum_host(const LeafDivision& division, const std::vector<int>& ranks);
  void sum_root(const LeafDivision& division);
  [[nodiscard]] std::int64_t num_nodes(int host) const;
  [[nodiscard]] std::int64_t longest_part(const std::vector<Bucket>& buckets, int rank) const;

  comm::Hosts hosts_;
  std::optional<ShardPlan> shards_;
  int num_lanes_ = 1;
  std::vector<NodeSum> host_sums_;
  NodeSum root_;
};

/// Elements of a range, rounded up to whole cache lines.
[[nodiscard]] std::int64_t whole_lines(const Bucket& range);

}  // namespace dlt::ddp

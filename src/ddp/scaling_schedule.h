// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "ddp/reduction_plan.h"
#include "ddp/scaling.h"

namespace dlt::ddp {

/// What the parts of a predicted step's communication take, from the plan that its ranks will
/// follow. Pure.
class ScalingSchedule {
 public:
  /// All three must outlive it.
  ScalingSchedule(const StepProfile& profile, const Fabric& fabric, const ScaledJob& job);

  struct Time {
    double total_s = 0;
    double wire_s = 0;
    double coding_s = 0;  // this rank encodes or decodes
  };
  /// The sum of a bucket, where it is wanted.
  [[nodiscard]] Time bucket(std::size_t index) const;
  /// Without compression, of any range.
  [[nodiscard]] Time range(const Bucket& range) const;
  /// With shards: the bucket's parameters from those who updated them to all.
  [[nodiscard]] Time gather(std::size_t index) const;
  /// The share of the whole update that the rank with most of a bucket makes of it, where it is cut
  /// into shards or a host's slices.
  [[nodiscard]] double update_share(std::size_t index) const;
  /// The step's message, and with shards what all need of the gradients.
  [[nodiscard]] double message_s() const;
  /// The mean of all replicas.
  [[nodiscard]] Time mean() const;
  /// Whether a communication thread carries buckets beside backward: ranks that share memory on one
  /// host do it behind.
  [[nodiscard]] bool overlaps() const;

 private:
  /// What the ranks of a host send to, and receive from, other hosts and among themselves in a
  /// round, in bytes.
  struct Round {
    double sent = 0, received = 0, within = 0;
  };
  [[nodiscard]] Time exact(const Bucket& range) const;
  [[nodiscard]] Time fast(const Bucket& range) const;
  [[nodiscard]] Time compressed(std::size_t index) const;
  [[nodiscard]] Time spread(const Cost& cost) const;
  [[nodiscard]] double host_part(const Bucket& range, int host) const;
  [[nodiscard]] double memory_s(const Bucket& range) const;
  [[nodiscard]] double copied_s(double num_bytes) const;
  [[nodiscard]] double round_s(int num_peers) const;

  const StepProfile& profile_;
  const Fabric& fabric_;
  const ScaledJob& job_;
  comm::Hosts hosts_;
  bool shares_memory_;
  ReductionPlan plan_;
  std::vector<std::vector<int>> members_;  // of each host: which of the plan's hosts it is
};

}  // namespace dlt::ddp

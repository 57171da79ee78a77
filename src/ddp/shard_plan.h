// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ddp/bucket_plan.h"
#include "tensor/flat_layout.h"

namespace dlt::ddp {

/// Which rank updates which elements of the flat buffers (train.shard): of each bucket, one slice a
/// rank, in rank order. Cuts lie between the blocks of parameters (tensor::kBlockElements), so that
/// a block's sum of squares is one rank's work; a slice may be empty. Pure; the same on every rank.
class ShardPlan {
 public:
  /// Slices of a bucket are as equal as blocks allow, and so is what a rank has of the first n
  /// buckets, for all n: to a block.
  ShardPlan(const tensor::FlatLayout& layout, std::vector<Bucket> buckets, int world_size);
  [[nodiscard]] int world_size() const { return world_size_; }
  [[nodiscard]] const std::vector<Bucket>& buckets() const { return buckets_; }
  [[nodiscard]] Bucket slice(std::size_t bucket, int rank) const;
  /// The same for a bucket given by its range.
  [[nodiscard]] Bucket slice(const Bucket& bucket, int rank) const;
  /// Elements of a rank in all buckets.
  [[nodiscard]] std::int64_t elements(int rank) const;

 private:
  void cut(const std::vector<std::int64_t>& legal);

  std::vector<Bucket> buckets_;
  int world_size_;
  std::vector<std::int64_t> cuts_;  // world_size + 1 of each bucket
};

}  // namespace dlt::ddp

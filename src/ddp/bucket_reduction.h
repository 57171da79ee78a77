// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/leaf_tree.h"
#include "ddp/shard_plan.h"

namespace dlt::ddp {

enum class Reduction : std::uint8_t { exact, fast };

/// How the buckets of a step become the same sum on all ranks. The communication thread calls it
/// bucket by bucket, in index order, in every step, on all ranks alike. Allocates when made only.
class BucketReduction {
 public:
  virtual ~BucketReduction() = default;
  /// From the bucket of all ranks' nodes to its sum in every rank's `reduced`; with shards, that of
  /// the rank's own slice at least. Collective.
  virtual void reduce(comm::Communicator& comm, std::size_t bucket) = 0;
  /// Memory it holds beside the nodes.
  [[nodiscard]] virtual std::int64_t buffer_bytes() const = 0;
};

struct BucketReductionOptions {
  int rank = 0;
  LeafDivision division;
  std::vector<Bucket> buckets;
  std::vector<float*> nodes;  // flat buffers that hold cover(this rank's leaves), left to right;
                              // Reduction::fast: one that holds their sum, or none
  float* reduced = nullptr;   // flat buffer of the result; may be nodes[0]
  std::optional<ShardPlan> shards = {};  // a rank needs the sum of its own slices alone
};

[[nodiscard]] std::unique_ptr<BucketReduction> make_bucket_reduction(
    Reduction kind, const BucketReductionOptions& options);

}  // namespace dlt::ddp

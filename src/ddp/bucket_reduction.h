// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_plan.h"
#include "ddp/compression/compression.h"
#include "ddp/host_wait.h"
#include "ddp/leaf_tree.h"
#include "ddp/shard_plan.h"

namespace dlt::ddp {

enum class Reduction : std::uint8_t {
  exact,
  fast,
  none  // gradients stay in the rank
};

/// What a lossy reduction carries from step to step. Empty where there is nothing to carry.
struct ReductionState {
  /// What this rank still owes: a flat buffer like the gradients, added to those of the next step.
  std::span<float> residual = {};
  /// Matrices that are the same on all ranks, each belonging to the parameter that begins at
  /// element `param` of the flat buffers.
  struct Shared {
    std::int64_t param = 0;
    std::int64_t rows = 0, cols = 0;
    float* data = nullptr;
  };
  std::vector<Shared> shared = {};
};

class HostMemory;

/// How the buckets of a step become the same sum on all ranks. The communication thread calls
/// reduce() bucket by bucket, in index order, in every step, on all ranks alike. Allocates when
/// made only.
class BucketReduction {
 public:
  virtual ~BucketReduction() = default;
  /// Main thread, before the workers of a step start.
  virtual void begin_step(std::int64_t /*step*/) {}
  /// The worker that was last with it: this rank's nodes of the bucket are final. In any order.
  virtual void bucket_final(std::size_t /*bucket*/) {}
  /// No message leaves the host: the main thread calls reduce() behind the workers, since another
  /// thread could only take turns with them.
  [[nodiscard]] virtual bool runs_inline() const { return false; }
  /// From the bucket of all ranks' nodes to its sum in every rank's `reduced`; with shards, that of
  /// the rank's own slice at least. Collective.
  virtual void reduce(comm::Communicator& comm, std::size_t bucket) = 0;
  /// Memory it uses beside this rank's nodes and the result.
  [[nodiscard]] virtual std::int64_t buffer_bytes() const = 0;
  /// To be read or set between steps.
  [[nodiscard]] virtual ReductionState state() { return {}; }
};

struct BucketReductionOptions {
  int rank = 0;
  LeafDivision division;
  std::vector<Bucket> buckets;
  std::vector<float*> nodes;  // flat buffers that hold cover(this rank's leaves), left to right;
                              // unless Reduction::exact: one that holds their sum, or none
  float* reduced = nullptr;   // flat buffer of the result; may be nodes[0]
  std::optional<ShardPlan> shards = {};  // a rank needs the sum of its own slices alone
  /// With all ranks on one host: reduce() waits for no other rank's slice. They are there once all
  /// ranks have sent the step's message.
  bool own_slices_first = false;
  HostMemory* memory = nullptr;  // where nodes and result lie; null: no ranks share any
  comm::Hosts hosts = {};        // with memory: who shares it with whom
  HostWaitOptions wait = {};     // for the ranks of this host
  std::int64_t generation = 0;   // of the supervisor's start
  CompressionOptions compression = {};
  std::vector<GradientRange> ranges = {};  // of a compression: what it does to which elements
};

[[nodiscard]] std::unique_ptr<BucketReduction> make_bucket_reduction(
    Reduction kind, const BucketReductionOptions& options);

}  // namespace dlt::ddp

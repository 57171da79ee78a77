// SPDX-License-Identifier: Apache-2.0
#include "ddp/bucket_reduction.h"

#include <algorithm>
#include <cstring>

#include "ddp/compression/reductions.h"
#include "ddp/tree_reduction.h"

namespace dlt::ddp {
namespace {

/// The library's own allreduce: as fast as that is, in whatever order it adds.
class LibraryReduction final : public BucketReduction {
 public:
  explicit LibraryReduction(BucketReductionOptions options) : options_(std::move(options)) {}

  void reduce(comm::Communicator& comm, std::size_t bucket) override {
    const Bucket& range = options_.buckets[bucket];
    float* data = options_.reduced + range.begin;
    const std::int64_t count = range.end - range.begin;
    const bool no_leaves = options_.nodes.empty();
    if (no_leaves) std::memset(data, 0, static_cast<std::size_t>(count) * sizeof(float));
    comm.allreduce({.data = data, .count = count, .dtype = DType::f32}, comm::ReduceOp::sum);
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override { return 0; }

 private:
  BucketReductionOptions options_;
};

/// Every rank keeps its own sum.
class NoReduction final : public BucketReduction {
 public:
  explicit NoReduction(BucketReductionOptions options) : options_(std::move(options)) {}
  void reduce(comm::Communicator& /*comm*/, std::size_t bucket) override {
    const Bucket& range = options_.buckets[bucket];
    if (options_.nodes.empty()) {
      std::fill(options_.reduced + range.begin, options_.reduced + range.end, 0.0F);
    }
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override { return 0; }

 private:
  BucketReductionOptions options_;
};

}  // namespace

std::unique_ptr<BucketReduction> make_bucket_reduction(Reduction kind,
                                                       const BucketReductionOptions& options) {
  if (options.compression.active()) return make_compressed_reduction(options);
  switch (kind) {
    case Reduction::exact:
      return std::make_unique<TreeReduction>(options);
    case Reduction::fast:
      return std::make_unique<LibraryReduction>(options);
    case Reduction::none:
      return std::make_unique<NoReduction>(options);
  }
  return nullptr;
}

}  // namespace dlt::ddp

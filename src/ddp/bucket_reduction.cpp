// SPDX-License-Identifier: Apache-2.0
#include "ddp/bucket_reduction.h"

#include <cstring>

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

}  // namespace

std::unique_ptr<BucketReduction> make_bucket_reduction(Reduction kind,
                                                       const BucketReductionOptions& options) {
  switch (kind) {
    case Reduction::exact:
      return std::make_unique<TreeReduction>(options);
    case Reduction::fast:
      return std::make_unique<LibraryReduction>(options);
  }
  return nullptr;
}

}  // namespace dlt::ddp

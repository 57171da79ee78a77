// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "ddp/bucket_reduction.h"
#include "ddp/cost.h"

namespace dlt::ddp {

// One of each line of compressions.def. They compress all of a bucket; of options.nodes the costs
// look at their number alone.
#define DLT_COMPRESSION(name)                                 \
  [[nodiscard]] std::unique_ptr<BucketReduction> make_##name( \
      const BucketReductionOptions& options);                 \
  [[nodiscard]] Cost cost_of_##name(const BucketReductionOptions& options);
#include "ddp/compression/compressions.def"
#undef DLT_COMPRESSION

/// What options.compression names, but for options.ranges that are exact: these are collected from
/// a bucket, summed along the leaf tree as they are, and the compression sees zeros there.
[[nodiscard]] std::unique_ptr<BucketReduction> make_compressed_reduction(
    const BucketReductionOptions& options);
[[nodiscard]] Cost cost_of_compressed_reduction(const BucketReductionOptions& options);

}  // namespace dlt::ddp

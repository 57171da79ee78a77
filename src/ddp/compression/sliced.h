// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "ddp/bucket_reduction.h"
#include "ddp/compression/block_codec.h"
#include "ddp/cost.h"

namespace dlt::ddp {

/// A bucket is cut into one slice a rank. Every rank sends slice s of its encoded sum to rank s,
/// which adds the slices of all ranks in f32 in rank order (its own as it is), encodes the result
/// and sends it to all. With error feedback one residual a rank holds both what its own rounding
/// and, in its slice, what the rounding of the result took away.
[[nodiscard]] std::unique_ptr<BucketReduction> make_sliced(const BucketReductionOptions& options,
                                                           std::unique_ptr<BlockCodec> codec);
[[nodiscard]] Cost cost_of_sliced(const BucketReductionOptions& options, const BlockCodec& codec);

/// The largest magnitude as the bits of an f32 without its sign: at least those of infinity if a
/// number is not finite. count is a multiple of 16.
[[nodiscard]] std::uint32_t largest_magnitude_bits(const float* values, std::int64_t count);

}  // namespace dlt::ddp

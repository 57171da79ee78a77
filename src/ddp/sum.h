// SPDX-License-Identifier: Apache-2.0
// Element-wise sums of gradients: every addition of the leaf tree goes through here.
#pragma once

#include <cstdint>
#include <span>

#include "ddp/leaf_tree.h"

namespace dlt::ddp {

/// out[i] = a[i] + b[i]; out may be a or b. One rounding an element, so the bits do not depend on
/// how the range is cut.
void add(float* out, const float* a, const float* b, std::int64_t count);

/// The same past the caches: for sums that nobody reads before they would have left them. Where the
/// processor has no such stores, or out is not aligned to 32 bytes, like add().
void add_past_caches(float* out, const float* a, const float* b, std::int64_t count);

/// Elements of all buffers that fit the cache together: ranges are summed in blocks of this size.
inline constexpr std::int64_t kBlock = 4096;

/// Runs the additions, in order, over elements [begin, end) of the buffers.
void run_additions(std::span<float* const> buffers, std::span<const Addition> additions,
                   std::int64_t begin, std::int64_t end);

}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/flat_layout.h"

namespace dlt::ddp {

/// A range of the flat gradient buffer that is reduced in one go, in elements.
struct Bucket {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

/// Cuts the flat buffer into buckets of about bucket_bytes, in the order in which gradients become
/// final. Covers [0, total); cuts lie between parameters only, so a parameter larger than
/// bucket_bytes makes a larger bucket. A run of small parameters (less than half a bucket before a
/// large one, less than a quarter at the end) joins its neighbour: a message has a price of its
/// own. bucket_bytes 0 means auto: an eighth of the buffer, within 1 to 16 MiB.
[[nodiscard]] std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout,
                                               std::int64_t bucket_bytes);

}  // namespace dlt::ddp

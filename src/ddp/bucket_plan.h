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
};

/// Cuts the flat buffer into buckets of about bucket_bytes, in the order in which gradients become
/// final, at parameter boundaries (a parameter larger than a bucket is a bucket). Covers [0,
/// total). bucket_bytes 0 means auto.
[[nodiscard]] std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout,
                                               std::int64_t bucket_bytes);

}  // namespace dlt::ddp

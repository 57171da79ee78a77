// SPDX-License-Identifier: Apache-2.0
// What the compressions share: a rank's own numbers out of its tree nodes.
#pragma once

#include <cstdint>
#include <cstring>

#include "ddp/bucket_reduction.h"
#include "ddp/sum.h"

namespace dlt::ddp {

/// Elements of the flat buffers.
[[nodiscard]] inline std::int64_t total_of(const BucketReductionOptions& options) {
  return options.buckets.empty() ? 0 : options.buckets.back().end;
}

/// The sum of this rank's nodes over [begin, begin + count), left to right, plus the residual where
/// there is one (a flat buffer). It lies in the first node, or in reduced for a rank without
/// leaves.
inline float* sum_nodes(const BucketReductionOptions& options, const float* residual,
                        std::int64_t begin, std::int64_t count) {
  float* values = (options.nodes.empty() ? options.reduced : options.nodes[0]) + begin;
  if (options.nodes.empty()) {
    std::memset(values, 0, static_cast<std::size_t>(count) * sizeof(float));
  }
  for (std::size_t i = 1; i < options.nodes.size(); ++i) {
    add(values, values, options.nodes[i] + begin, count);
  }
  if (residual != nullptr) add(values, values, residual + begin, count);
  return values;
}

}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "support/op_samples.h"

namespace dlt::test {

/// The sample with `batch` and `n` in the places of its 3 and 7; empty op if it has other sizes.
inline support::OpSample resized(support::OpSample sample, std::int64_t batch, std::int64_t n) {
  for (support::SampleInput& input : sample.inputs) {
    std::vector<std::int64_t> dims;
    for (const std::int64_t dim : input.shape.dims()) {
      if (dim != 3 && dim != 7) return {};
      dims.push_back(dim == 3 ? batch : n);
    }
    input.shape = tensor::Shape(dims);
    if (input.num_classes != 0) input.num_classes = n;
  }
  return sample.inputs.empty() ? support::OpSample{} : sample;
}

/// The shared samples, those of shape [3, 7] in many sizes, and large ones.
inline std::vector<support::OpSample> many_samples() {
  std::vector<support::OpSample> samples = support::op_samples();
  std::vector<support::OpSample> more;
  for (const support::OpSample& sample : samples) {
    if (sample.op == "reshape") continue;
    for (const std::int64_t n : {1, 3, 7, 15, 16, 17, 33, 64, 100, 1000, 3001}) {
      const support::OpSample other = resized(sample, n == 7 ? 1 : 5, n);
      if (!other.op.empty()) more.push_back(other);
    }
  }
  samples.insert(samples.end(), more.begin(), more.end());
  more = support::large_op_samples();
  samples.insert(samples.end(), more.begin(), more.end());
  std::erase_if(samples, [](const support::OpSample& sample) { return sample.op == "reshape"; });
  return samples;
}

}  // namespace dlt::test

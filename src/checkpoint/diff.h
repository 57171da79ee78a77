// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace dlt::checkpoint {

/// How two tensors of one name differ.
struct TensorDifference {
  std::string name;
  std::string types;  // "f32[64, 10] and f32[64, 2]", "only in the first"; "" where both
                      // have one type and the numbers differ
  std::int64_t num_different = 0;  // elements whose bits differ
  std::int64_t num_elements = 0;
  std::vector<std::int64_t> first;  // place of the first such element
  double max_absolute = 0;          // largest |a - b|, infinite where only one is a number
  double max_relative = 0;          // largest |a - b| / max(|a|, |b|)
};

/// The tensors that differ in a bit, in name order. Empty: the dicts are the same to the bit. A
/// difference of 0 in both sizes is one of bits alone, as of 0 and -0.
[[nodiscard]] std::vector<TensorDifference> differences(const tensor::StateDict& first,
                                                        const tensor::StateDict& second);

/// "dense_1.weight: 3 of 640 elements differ, first at [0, 2]; by at most 1e-07 (relative 2e-06)"
[[nodiscard]] std::string describe(const TensorDifference& difference);

}  // namespace dlt::checkpoint

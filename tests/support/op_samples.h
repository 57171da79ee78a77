// SPDX-License-Identifier: Apache-2.0
// Sample calls of every op: what the gradient check and the conformance of devices go through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/kernel.h"
#include "tensor/tensor.h"

namespace dlt::support {

/// What numbers an input holds.
enum class Fill : std::uint8_t {
  normal,       // standard normal
  positive,     // 0.1 and more
  probability,  // within 0.02 .. 0.98
  rows,         // a probability distribution along the last axis
  log_rows,     // its logarithm
  labels,       // i32, 0 .. num_classes - 1
  some_labels,  // the same, but a row of the last axis ends in some -1
  mask,         // 0 or 1, mostly 1
  bytes,        // u8, 0 .. num_classes - 1
  weights,      // 1, but 0 for the last of several in a row
};

struct SampleInput {
  tensor::Shape shape;
  Fill fill = Fill::normal;
  std::int64_t num_classes = 0;  // labels and bytes only
  bool gradient = true;          // false: the op gives this input none (labels, targets)
};

struct OpSample {
  std::string op;
  std::vector<SampleInput> inputs;
  tensor::Attrs attrs;
  std::size_t output = 0;  // whose derivative is checked
};

/// At least one for each op of ops.def; shapes odd on purpose, so that vector code meets
/// remainders.
[[nodiscard]] std::vector<OpSample> op_samples();

/// Sizes beyond those of a warp or a block of a GPU, where its kernels go other ways: too large for
/// differences of each element.
[[nodiscard]] std::vector<OpSample> large_op_samples();

/// "softmax([3, 7])", for messages.
[[nodiscard]] std::string text(const OpSample& sample);

/// Input `index` of a sample with its float numbers in dtype (f32 or f64); a function of seed.
[[nodiscard]] tensor::Tensor make_input(const OpSample& sample, std::size_t index, DType dtype,
                                        std::uint64_t seed);

}  // namespace dlt::support

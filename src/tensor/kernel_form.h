// SPDX-License-Identifier: Apache-2.0
// The numbers that a kernel's arithmetic needs of its spec. Plain ones only: the header goes into
// files compiled for an instruction set or a device of their own.
#pragma once

#include <cstdint>

namespace dlt::tensor {

enum class Activation : std::uint8_t { none, relu, leaky_relu, tanh, sigmoid, softplus };
/// i32 [B, ...] or f32 [B, ..., n]
enum class Labels : std::uint8_t { index, distribution };

struct KernelForm {
  /// The tensor as a matrix; element-wise kernels see one row. For products rows and cols are those
  /// of the result and inner is the length of the sums. For losses rows are samples and inner is
  /// what a sample's sum is divided by: the rows of cols numbers of label losses.
  std::int64_t rows = 1, cols = 1, inner = 0;
  bool flat = false;       // cols is the length of input 0 in each run
  bool by_sample = false;  // needs sample ids
  bool tanh_gelu = false;
  bool log_input = true;  // poisson_loss
  Activation activation = Activation::none;
  Labels labels = Labels::index;
  float p0 = 0, p1 = 0;              // attributes: alpha, delta, factor and offset, label_smoothing
  std::int32_t ignored = INT32_MIN;  // losses of labels: the label that does not count
  std::uint32_t threshold = 0;       // dropout keeps a 24-bit number that is at least this
  std::uint64_t op = 0;              // dropout: rng::op_id of the layer
};

}  // namespace dlt::tensor

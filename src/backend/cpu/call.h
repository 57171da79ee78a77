// SPDX-License-Identifier: Apache-2.0
// What a kernel's inner routine gets: plain numbers and pointers only, since routines are compiled
// once for each instruction set (see simd.h).
#pragma once

#include <cstdint>

#include "backend/cpu/gemm.h"

namespace dlt::cpu {

enum class Activation : std::uint8_t { none, relu, leaky_relu, tanh, sigmoid, softplus };
/// i32 [B, ...] or f32 [B, ..., n]
enum class Labels : std::uint8_t { index, distribution };

struct Call {
  static constexpr int kMaxInputs = 8, kMaxOutputs = 6;
  const void* in[kMaxInputs] = {};
  void* out[kMaxOutputs] = {};
  /// The tensor as a matrix; element-wise routines see one row. For products rows and cols are
  /// those of the result and inner is the length of the sums. For losses rows are samples and inner
  /// is what a sample's sum is divided by: the rows of cols numbers of label losses.
  std::int64_t rows = 1, cols = 1, inner = 0;
  bool trans_a = false, trans_b = false;
  bool flat = false;       // cols is the length of input 0 in each run
  bool by_sample = false;  // needs sample_ids
  std::int64_t first = 0;  // dropout of a part of one sample: where it begins, a multiple of 64
  bool onednn = false;     // a product that oneDNN does
  bool tanh_gelu = false;
  Activation activation = Activation::none;
  Precision precision = Precision::f32;  // of a product's operands
  Labels labels = Labels::index;
  float p0 = 0, p1 = 0;              // attributes: alpha, delta, factor and offset, label_smoothing
  std::int32_t ignored = INT32_MIN;  // losses of labels: the label that does not count
  bool log_input = true;             // poisson_loss
  const float* table = nullptr;      // class weights, cols of them, or null
  std::uint32_t threshold = 0;       // dropout keeps a 24-bit number that is at least this
  std::uint64_t op = 0;              // dropout: rng::op_id of the layer
  // Of one run:
  std::uint64_t seed = 0, epoch = 0;
  const std::int64_t* sample_ids = nullptr;
  const double* scalars = nullptr;
  float* scratch = nullptr;
  float* kept = nullptr;  // of a product: its second operand packed, made by a run where not valid
  bool kept_valid = false;

  [[nodiscard]] const float* x(int i) const { return static_cast<const float*>(in[i]); }
  [[nodiscard]] float* y(int i) const { return static_cast<float*>(out[i]); }
  [[nodiscard]] std::int64_t numel() const { return rows * cols; }
};

using Routine = void (*)(const Call&);

}  // namespace dlt::cpu

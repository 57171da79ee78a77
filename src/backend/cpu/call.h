// SPDX-License-Identifier: Apache-2.0
// What a kernel's inner routine gets: plain numbers and pointers only, since routines are compiled
// once for each instruction set (see simd.h).
#pragma once

#include <cstdint>

#include "backend/cpu/gemm.h"
#include "tensor/kernel_form.h"

namespace dlt::cpu {

using tensor::Activation;
using tensor::Labels;

struct Call : tensor::KernelForm {
  static constexpr int kMaxInputs = 8, kMaxOutputs = 6;
  const void* in[kMaxInputs] = {};
  void* out[kMaxOutputs] = {};
  bool trans_a = false, trans_b = false;
  std::int64_t first = 0;  // dropout of a part of one sample: where it begins, a multiple of 64
  bool onednn = false;     // a product that oneDNN does
  Precision precision = Precision::f32;  // of a product's operands
  const float* table = nullptr;          // class weights, cols of them, or null
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

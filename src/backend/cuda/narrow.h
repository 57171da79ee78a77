// SPDX-License-Identifier: Apache-2.0
// Copies of f32 matrices as attribute precision rounds their numbers.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "backend/cuda/precision.h"

namespace dlt::cuda {

/// Elements from row to row of a copy: whole 16 bytes, which the tensor cores read fastest.
[[nodiscard]] inline std::int64_t narrow_stride(std::int64_t columns) {
  return (columns + 7) / 8 * 8;
}

struct NarrowCopy {
  const float* from = nullptr;  // [rows, columns], rows from_stride apart
  void* to = nullptr;           // the same, rows to_stride apart; what lies between stays
  std::int64_t rows = 0, columns = 0;
  std::int64_t from_stride = 0, to_stride = 0;
  Precision precision = Precision::bf16;
  bool in_f32 = false;  // rounded, but 32 bits wide
};
void narrow(const NarrowCopy& copy, cudaStream_t stream);

struct NarrowTranspose {
  const float* from = nullptr;  // [rows, columns]
  void* to = nullptr;           // [columns, rows]
  std::int64_t rows = 0, columns = 0;
  Precision precision = Precision::f32;
  bool in_f32 = true;
};
void narrow(const NarrowTranspose& copy, cudaStream_t stream);

/// An image [batch, to_h, to_w, channels] of one [batch, from_h, from_w, channels]: pixel (h, w) is
/// pixel (h + first_h, w + first_w) of the other, zeros where that has none. Pads or crops.
struct NarrowFrame {
  const float* from = nullptr;
  void* to = nullptr;
  std::int64_t batch = 0, channels = 0;
  std::int64_t from_h = 0, from_w = 0, to_h = 0, to_w = 0;
  std::int64_t first_h = 0, first_w = 0;
  Precision precision = Precision::f32;
  bool in_f32 = true;
};
void narrow(const NarrowFrame& copy, cudaStream_t stream);

}  // namespace dlt::cuda

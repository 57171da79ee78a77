// SPDX-License-Identifier: Apache-2.0
// Copies of f32 matrices in 16 bits.
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
  Precision precision = Precision::bf16;  // bf16 or f16
};

/// Rounds to nearest, ties to even.
void narrow(const NarrowCopy& copy, cudaStream_t stream);

}  // namespace dlt::cuda

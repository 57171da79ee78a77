// SPDX-License-Identifier: Apache-2.0
// A row of a matrix in the registers of a warp, four neighbours to a lane; the same element is in
// the same place whether or not they can be read at once.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "backend/cuda/device.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {

/// Rows of n floats start on 16 bytes in all these arrays (null ones aside).
inline bool may_use_quads(std::int64_t n, std::initializer_list<const void*> arrays) {
  bool aligned = n % 4 == 0;
  for (const void* array : arrays) {
    aligned = aligned && reinterpret_cast<std::uintptr_t>(array) % 16 == 0;
  }
  return aligned;
}

/// Rows of n <= 128 kQuads numbers, taken in turn by all warps of the grid.
template <int kQuads>
class RowQuads {
 public:
  __device__ RowQuads(std::int64_t n, bool aligned) : n_(static_cast<int>(n)), aligned_(aligned) {}
  [[nodiscard]] __device__ int lane() const { return static_cast<int>(threadIdx.x) % kWarp; }
  [[nodiscard]] __device__ std::int64_t first_row() const {
    return static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  }
  [[nodiscard]] __device__ std::int64_t row_step() const {
    return static_cast<std::int64_t>(gridDim.x) * (blockDim.x / kWarp);
  }

  /// f(place in the registers, place in the row) for what this lane has of a row.
  template <typename F>
  __device__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < 4 * kQuads; ++i) {
      const int j = at(i);
      if (j < n_) f(i, j);
    }
  }
  /// f(place in the registers, the row's number there): four at a time, for rows
  /// that are wanted once.
  template <typename F>
  __device__ void each_of(const float* row, F f) const {
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
      const int j = at(4 * q);
      if (j >= n_) continue;
      float values[4] = {};
      if (aligned_) {
        const float4 quad = *reinterpret_cast<const float4*>(row + j);
        values[0] = quad.x;
        values[1] = quad.y;
        values[2] = quad.z;
        values[3] = quad.w;
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k) values[k] = j + k < n_ ? row[j + k] : 0.0F;
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (j + k < n_) f(4 * q + k, values[k]);
      }
    }
  }
  __device__ void load(const float* row, float* values) const {
    each_of(row, [&](int i, float value) { values[i] = value; });
  }
  __device__ void store(const float* values, float* row) const {
    if (aligned_) {
#pragma unroll
      for (int q = 0; q < kQuads; ++q) {
        if (at(4 * q) >= n_) continue;
        *reinterpret_cast<float4*>(row + at(4 * q)) =
            make_float4(values[4 * q], values[4 * q + 1], values[4 * q + 2], values[4 * q + 3]);
      }
    } else {
      each([&](int i, std::int64_t j) { row[j] = values[i]; });
    }
  }

 private:
  [[nodiscard]] __device__ int at(int i) const { return (i / 4 * kWarp + lane()) * 4 + i % 4; }

  int n_;
  bool aligned_;
};

}  // namespace dlt::cuda

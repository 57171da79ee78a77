// SPDX-License-Identifier: Apache-2.0
// Copies of rows of 4-byte numbers, four at a time where they lie well for it.
#pragma once

#include <cstdint>

#include "backend/cuda/divider.h"
#include "backend/cuda/each_element.h"

namespace dlt::cuda {

/// to[row * to_stride + j] = from[row * from_stride + j] for 0 <= j < width; all in words of T.
template <typename T>
struct CopyRows {
  T* to;
  const T* from;
  std::int64_t to_stride, from_stride;
  Divider by_width;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = by_width.take(i);
    to[row * to_stride + i] = from[row * from_stride + i];
  }
};

/// Whether numbers that start at `memory`, in rows of these lengths, may be taken four at a time.
template <typename... Lengths>
[[nodiscard]] bool in_fours(std::initializer_list<const void*> memory, Lengths... lengths) {
  for (const void* start : memory) {
    if (reinterpret_cast<std::uintptr_t>(start) % 16 != 0) return false;
  }
  return ((lengths % 4 == 0) && ...);
}

inline void copy_rows(std::uint32_t* to, std::int64_t to_stride, const std::uint32_t* from,
                      std::int64_t from_stride, std::int64_t rows, std::int64_t width,
                      cudaStream_t stream) {
  if (rows == 0 || width == 0) return;
  if (in_fours({to, from}, to_stride, from_stride, width)) {
    const CopyRows<uint4> op{reinterpret_cast<uint4*>(to), reinterpret_cast<const uint4*>(from),
                             to_stride / 4, from_stride / 4, Divider(width / 4)};
    return launch_elements(rows * width / 4, op, stream);
  }
  launch_elements(rows * width,
                  CopyRows<std::uint32_t>{to, from, to_stride, from_stride, Divider(width)},
                  stream);
}

}  // namespace dlt::cuda

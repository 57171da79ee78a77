// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cuda/device.h"
#include "backend/cuda/narrow.h"

namespace dlt::cuda {
namespace {

constexpr int kThreads = 256;

__device__ inline void round_to(float value, __nv_bfloat16& to) { to = __float2bfloat16_rn(value); }
__device__ inline void round_to(float value, __half& to) { to = __float2half_rn(value); }

/// Four elements a thread where rows are whole and aligned.
template <typename Narrow>
__global__ void narrow_fours(const float4* from, Narrow* to, std::int64_t fours) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < fours;
       i += stride) {
    const float4 four = from[i];
    struct alignas(8) {
      Narrow x, y, z, w;
    } rounded;
    round_to(four.x, rounded.x);
    round_to(four.y, rounded.y);
    round_to(four.z, rounded.z);
    round_to(four.w, rounded.w);
    *reinterpret_cast<decltype(rounded)*>(to + 4 * i) = rounded;
  }
}

template <typename Narrow>
__global__ void narrow_rows(const float* from, Narrow* to, std::int64_t rows, std::int64_t columns,
                            std::int64_t from_stride, std::int64_t to_stride) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < rows * columns; i += stride) {
    const std::int64_t row = i / columns, column = i % columns;
    round_to(from[row * from_stride + column], to[row * to_stride + column]);
  }
}

Grid grid_for(std::int64_t elements) {
  const std::int64_t blocks =
      std::clamp<std::int64_t>((elements + kThreads - 1) / kThreads, 1, 8192);
  return {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kThreads)};
}

template <typename Narrow>
void narrow_to(const NarrowCopy& c, cudaStream_t stream) {
  auto* to = static_cast<Narrow*>(c.to);
  const std::int64_t elements = c.rows * c.columns;
  const bool whole = c.from_stride == c.columns && c.to_stride == c.columns && elements % 4 == 0 &&
                     reinterpret_cast<std::uintptr_t>(c.from) % 16 == 0 &&
                     reinterpret_cast<std::uintptr_t>(c.to) % 8 == 0;
  if (whole) {
    launch(narrow_fours<Narrow>, grid_for(elements / 4), stream,
           reinterpret_cast<const float4*>(c.from), to, elements / 4);
  } else {
    launch(narrow_rows<Narrow>, grid_for(elements), stream, c.from, to, c.rows, c.columns,
           c.from_stride, c.to_stride);
  }
}

}  // namespace

void narrow(const NarrowCopy& copy, cudaStream_t stream) {
  if (copy.rows == 0 || copy.columns == 0) return;
  copy.precision == Precision::bf16 ? narrow_to<__nv_bfloat16>(copy, stream)
                                    : narrow_to<__half>(copy, stream);
}

}  // namespace dlt::cuda

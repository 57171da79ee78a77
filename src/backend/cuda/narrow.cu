// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cuda/device.h"
#include "backend/cuda/narrow.h"
#include "backend/cuda/rounding.h"

namespace dlt::cuda {
namespace {

constexpr int kNarrowThreads = 256;
constexpr int kTile = 32, kTileRows = 8;

template <typename To>
struct alignas(4 * sizeof(To)) FourOf {
  To x, y, z, w;
};

/// Four elements a thread, where rows are whole and aligned.
template <typename To>
__global__ void narrow_fours(const float4* from, FourOf<To>* to, std::int64_t fours,
                             Precision precision) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < fours;
       i += stride) {
    const float4 four = from[i];
    FourOf<To> result;
    store_rounded(four.x, precision, result.x);
    store_rounded(four.y, precision, result.y);
    store_rounded(four.z, precision, result.z);
    store_rounded(four.w, precision, result.w);
    to[i] = result;
  }
}

template <typename To>
__global__ void narrow_rows(NarrowCopy c) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < c.rows * c.columns; i += stride) {
    const std::int64_t row = i / c.columns, column = i % c.columns;
    store_rounded(c.from[row * c.from_stride + column], c.precision,
                  static_cast<To*>(c.to)[row * c.to_stride + column]);
  }
}

/// A block turns one tile, through shared memory so that both sides are read and written by rows.
template <typename To>
__global__ void narrow_transposed(NarrowTranspose c) {
  __shared__ float tile[kTile][kTile + 1];
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  for (std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTile; first_row < c.rows;
       first_row += static_cast<std::int64_t>(gridDim.y) * kTile) {
    for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
      const std::int64_t row = first_row + i, column = first_column + lane;
      if (row < c.rows && column < c.columns) tile[i][lane] = c.from[row * c.columns + column];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
      const std::int64_t row = first_row + lane, column = first_column + i;
      if (row >= c.rows || column >= c.columns) continue;
      store_rounded(tile[lane][i], c.precision, static_cast<To*>(c.to)[column * c.rows + row]);
    }
    __syncthreads();
  }
}

template <typename To>
__global__ void narrow_frame(NarrowFrame c) {
  const std::int64_t count = c.batch * c.to_h * c.to_w * c.channels;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const std::int64_t channel = i % c.channels, pixel = i / c.channels;
    const std::int64_t row = pixel / c.to_w, b = row / c.to_h;
    const std::int64_t h = row % c.to_h + c.first_h, w = pixel % c.to_w + c.first_w;
    const bool exists = h >= 0 && h < c.from_h && w >= 0 && w < c.from_w;
    const float x =
        exists ? c.from[((b * c.from_h + h) * c.from_w + w) * c.channels + channel] : 0.0f;
    store_rounded(x, c.precision, static_cast<To*>(c.to)[i]);
  }
}

Grid narrow_grid(std::int64_t elements) {
  const std::int64_t blocks =
      std::clamp<std::int64_t>((elements + kNarrowThreads - 1) / kNarrowThreads, 1, 8192);
  return {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kNarrowThreads)};
}

template <typename To>
void narrow_to(const NarrowCopy& c, cudaStream_t stream) {
  const std::int64_t elements = c.rows * c.columns;
  const bool whole = c.from_stride == c.columns && c.to_stride == c.columns && elements % 4 == 0 &&
                     reinterpret_cast<std::uintptr_t>(c.from) % sizeof(float4) == 0 &&
                     reinterpret_cast<std::uintptr_t>(c.to) % sizeof(FourOf<To>) == 0;
  if (whole) {
    launch(narrow_fours<To>, narrow_grid(elements / 4), stream,
           reinterpret_cast<const float4*>(c.from), static_cast<FourOf<To>*>(c.to), elements / 4,
           c.precision);
  } else {
    launch(narrow_rows<To>, narrow_grid(elements), stream, c);
  }
}

template <typename To>
void narrow_to(const NarrowTranspose& c, cudaStream_t stream) {
  const auto tiles = [](std::int64_t size) { return (size + kTile - 1) / kTile; };
  launch(narrow_transposed<To>,
         {.blocks = dim3(static_cast<unsigned>(tiles(c.columns)),
                         static_cast<unsigned>(std::min<std::int64_t>(tiles(c.rows), 65535))),
          .threads = dim3(kTile, kTileRows)},
         stream, c);
}

template <typename To>
void narrow_to(const NarrowFrame& c, cudaStream_t stream) {
  launch(narrow_frame<To>, narrow_grid(c.batch * c.to_h * c.to_w * c.channels), stream, c);
}

template <typename Copy>
void narrow_any(const Copy& copy, cudaStream_t stream) {
  if (copy.in_f32 || !is_narrow(copy.precision)) return narrow_to<float>(copy, stream);
  copy.precision == Precision::bf16 ? narrow_to<__nv_bfloat16>(copy, stream)
                                    : narrow_to<__half>(copy, stream);
}

}  // namespace

void narrow(const NarrowCopy& copy, cudaStream_t stream) { narrow_any(copy, stream); }
void narrow(const NarrowTranspose& copy, cudaStream_t stream) { narrow_any(copy, stream); }
void narrow(const NarrowFrame& copy, cudaStream_t stream) { narrow_any(copy, stream); }

}  // namespace dlt::cuda

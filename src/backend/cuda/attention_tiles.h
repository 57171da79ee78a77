// SPDX-License-Identifier: Apache-2.0
// Device code: products of tiles in shared memory, for attention. A block is 16 x 16 threads;
// thread (row, lane) owns kR consecutive rows of a tile of scores and kC consecutive columns, or,
// of a tile with a head's numbers in its rows, the same rows and every 16th group of columns.
#pragma once

#include <cstdint>

#include "backend/cuda/device.h"

namespace dlt::cuda {

constexpr int kSide = 16;  // threads of a block along both axes
constexpr int kTileThreads = kSide * kSide;

__device__ inline int tile_row() { return static_cast<int>(threadIdx.x) / kSide; }
__device__ inline int tile_lane() { return static_cast<int>(threadIdx.x) % kSide; }

/// Floats from row to row: 16 bytes more than a power of two, so that equal columns of neighbouring
/// rows lie in different banks.
template <int kSize>
constexpr int kPitch = kSize + 4;

/// Where row i of the tile behind the columns lies: rows that one thread reads one after the other
/// are kSide apart, so that the threads read neighbours at the same time.
template <int kC>
__device__ inline int slot(int i) {
  return i % kC * kSide + i / kC;
}

/// Rows of a head in device memory.
struct HeadRows {
  const float* first = nullptr;
  std::int64_t stride = 0;  // floats from row to row
  std::int64_t count = 0;   // rows there are; the tile's others become zeros
  int size = 0;             // numbers of a row; the tile's others become zeros
};

__device__ inline float4 load_some(const float* row, int at, int size) {
  if (at + 4 <= size && reinterpret_cast<std::uintptr_t>(row + at) % sizeof(float4) == 0) {
    return *reinterpret_cast<const float4*>(row + at);
  }
  return make_float4(at < size ? row[at] : 0.0f, at + 1 < size ? row[at + 1] : 0.0f,
                     at + 2 < size ? row[at + 2] : 0.0f, at + 3 < size ? row[at + 3] : 0.0f);
}

/// Row i goes to slot<kC>(i); kC = 1 keeps the order.
template <int kD, int kRows, int kC>
__device__ void load_tile(float* tile, const HeadRows& rows) {
  constexpr int kFours = kD / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kFours; i += kTileThreads) {
    const int row = i / kFours, at = i % kFours * 4;
    const float4 four = row < rows.count ? load_some(rows.first + row * rows.stride, at, rows.size)
                                         : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    *reinterpret_cast<float4*>(tile + slot<kC>(row) * kPitch<kD> + at) = four;
  }
}

/// sums[i][j] = row kR·row + i of a · row kC·lane + j of b.
template <int kD, int kR, int kC>
__device__ void dot_rows(float (&sums)[kR][kC], const float* a, const float* b) {
#pragma unroll
  for (int i = 0; i < kR; ++i) {
#pragma unroll
    for (int j = 0; j < kC; ++j) sums[i][j] = 0.0f;
  }
  a += tile_row() * kR * kPitch<kD>;
  b += tile_lane() * kPitch<kD>;
#pragma unroll 4
  for (int d = 0; d < kD; d += 4) {
    float4 x[kR], y[kC];
#pragma unroll
    for (int i = 0; i < kR; ++i) x[i] = *reinterpret_cast<const float4*>(a + i * kPitch<kD> + d);
#pragma unroll
    for (int j = 0; j < kC; ++j) {
      y[j] = *reinterpret_cast<const float4*>(b + j * kSide * kPitch<kD> + d);
    }
#pragma unroll
    for (int i = 0; i < kR; ++i) {
#pragma unroll
      for (int j = 0; j < kC; ++j) {
        float sum = sums[i][j];
        sum = fmaf(x[i].x, y[j].x, sum);
        sum = fmaf(x[i].y, y[j].y, sum);
        sum = fmaf(x[i].z, y[j].z, sum);
        sums[i][j] = fmaf(x[i].w, y[j].w, sum);
      }
    }
  }
}

/// A thread's numbers of a head: groups of kGroup columns, kSide · kGroup apart.
template <int kD>
struct HeadColumns {
  static constexpr int kCount = kD / kSide;
  static constexpr int kGroup = kCount < 4 ? kCount : 4;
  /// The column of number v.
  __device__ static int at(int v) {
    return v / kGroup * kSide * kGroup + tile_lane() * kGroup + v % kGroup;
  }
};

/// sums[i][v] += row kR·row + i of w [.., kK] · column at(v) of x [kK, kD], whose row k lies in
/// slot<kC>(k).
template <int kD, int kK, int kR, int kC>
__device__ void add_weighted_rows(float (&sums)[kR][HeadColumns<kD>::kCount], const float* w,
                                  const float* x) {
  constexpr int kCount = HeadColumns<kD>::kCount;
  w += tile_row() * kR * kPitch<kK>;
#pragma unroll 2
  for (int k = 0; k < kK; k += 4) {
    float4 weight[kR];
#pragma unroll
    for (int i = 0; i < kR; ++i) {
      weight[i] = *reinterpret_cast<const float4*>(w + i * kPitch<kK> + k);
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const float* row = x + slot<kC>(k + u) * kPitch<kD>;
      float number[kCount];
#pragma unroll
      for (int v = 0; v < kCount; ++v) number[v] = row[HeadColumns<kD>::at(v)];
#pragma unroll
      for (int i = 0; i < kR; ++i) {
        const float factor = u == 0   ? weight[i].x
                             : u == 1 ? weight[i].y
                             : u == 2 ? weight[i].z
                                      : weight[i].w;
#pragma unroll
        for (int v = 0; v < kCount; ++v) sums[i][v] = fmaf(factor, number[v], sums[i][v]);
      }
    }
  }
}

/// The thread's scores into a tile [rows, kSide · kC].
template <int kR, int kC>
__device__ void store_scores(float* tile, const float (&scores)[kR][kC]) {
#pragma unroll
  for (int i = 0; i < kR; ++i) {
    float* row = tile + (tile_row() * kR + i) * kPitch<kSide * kC> + tile_lane() * kC;
#pragma unroll
    for (int j = 0; j < kC; ++j) row[j] = scores[i][j];
  }
}

/// Over the 16 threads that share rows; all get the result.
__device__ inline float row_max(float x) {
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
  }
  return x;
}
__device__ inline float row_sum(float x) {
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

}  // namespace dlt::cuda

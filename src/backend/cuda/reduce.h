// SPDX-License-Identifier: Apache-2.0
// Sums over the threads of a warp and of a block, in an order that is always the same.
#pragma once

#include "backend/cuda/device.h"

namespace dlt::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffU;

/// The sum over the 32 lanes, which all take part and all get it.
template <typename T>
__device__ T warp_sum(T value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, lanes);
  }
  return value;
}

/// The sum over the block's threads, whole warps along x, which all take part and all get it.
/// `shared` has a place for each warp and may be given again at once.
template <typename T>
__device__ T block_sum(T value, T* shared) {
  value = warp_sum(value);
  __syncthreads();  // everyone has read what an earlier sum left there
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) total += shared[warp];
  return total;
}

}  // namespace dlt::cuda

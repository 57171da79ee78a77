// SPDX-License-Identifier: Apache-2.0
// What kernels over all elements share: how many blocks, and groups of four floats a thread. A
// group's numbers are loaded at once where memory lies well for that; results do not depend on it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cuda/device.h"
#include "backend/cuda/device_libraries.h"

namespace dlt::cuda {

constexpr int kThreads = 256;

/// Blocks for that many threads' work, at least one and no more than fill the device twice: kernels
/// stride over what is left.
inline Grid grid_of(std::int64_t num_threads, const DeviceLibraries& libraries) {
  constexpr std::int64_t kBlocksEach = 2 * 2048 / kThreads;
  const std::int64_t most = kBlocksEach * libraries.num_multiprocessors();
  const std::int64_t blocks =
      std::clamp<std::int64_t>((num_threads + kThreads - 1) / kThreads, 1, most);
  return {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kThreads)};
}

inline bool is_aligned(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory) % sizeof(float4) == 0;
}

inline std::int64_t num_groups(std::int64_t count) { return (count + 3) / 4; }

/// This thread's number in the grid, and the number of all threads.
__device__ inline std::int64_t first_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t index_stride() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

struct Four {
  float x[4];
};

/// Elements 4 group to 4 group + 3 of count; 0 for those behind the end.
__device__ inline Four load_four(const float* from, std::int64_t group, std::int64_t count,
                                 bool aligned) {
  const std::int64_t at = 4 * group;
  if (aligned && at + 4 <= count) {
    const float4 v = reinterpret_cast<const float4*>(from)[group];
    return {{v.x, v.y, v.z, v.w}};
  }
  Four four{};
  for (int u = 0; u < 4; ++u) {
    if (at + u < count) four.x[u] = from[at + u];
  }
  return four;
}

__device__ inline void store_four(float* to, const Four& four, std::int64_t group,
                                  std::int64_t count, bool aligned) {
  const std::int64_t at = 4 * group;
  if (aligned && at + 4 <= count) {
    reinterpret_cast<float4*>(to)[group] = make_float4(four.x[0], four.x[1], four.x[2], four.x[3]);
    return;
  }
  for (int u = 0; u < 4; ++u) {
    if (at + u < count) to[at + u] = four.x[u];
  }
}

}  // namespace dlt::cuda

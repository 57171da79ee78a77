// SPDX-License-Identifier: Apache-2.0
// What .cu files are written in: CUDA, with one way to launch. They are also compiled as plain C++
// for the emulator of the tests, which brings a device.h of its own; so kernels use no chevrons, no
// inline PTX and no vendor's device libraries.
#pragma once

#include <cstddef>
#include <utility>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "backend/cuda/check.h"

namespace dlt::cuda {

struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;
};

/// What a kernel may have of shared memory without asking.
inline constexpr std::size_t kPlainShared_bytes = 48 << 10;

/// Puts a kernel into the stream. errors  Error(Exit::unavailable) if the device refuses it
template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), const Grid& grid, cudaStream_t stream, Args&&... args) {
  if (grid.shared_bytes > kPlainShared_bytes) {
    DLT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(grid.shared_bytes)));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream;
  DLT_CUDA(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...));
}

/// The block's dynamic shared memory, of Grid::shared_bytes.
template <typename T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dlt_shared_memory[];
  return reinterpret_cast<T*>(dlt_shared_memory);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

namespace dlt::cuda {

/// errors  Error(Exit::unavailable) "cuda: call = 700 (cudaErrorIllegalAddress: an illegal ...)"
[[noreturn]] void failed(const char* call, cudaError_t status);
inline void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) failed(call, status);
}

}  // namespace dlt::cuda

#define DLT_CUDA(call) ::dlt::cuda::check(call, #call)

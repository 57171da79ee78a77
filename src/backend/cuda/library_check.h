// SPDX-License-Identifier: Apache-2.0
// Statuses of cuBLASLt and cuDNN, as check.h has CUDA's.
#pragma once

#include <cublasLt.h>
#include <cudnn_graph.h>

namespace dlt::cuda {

/// errors  Error(Exit::unavailable) "cuda: call = 15 (CUBLAS_STATUS_NOT_SUPPORTED: ...)"
[[noreturn]] void failed(const char* call, cublasStatus_t status);
[[noreturn]] void failed(const char* call, cudnnStatus_t status);
inline void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) failed(call, status);
}
inline void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) failed(call, status);
}

}  // namespace dlt::cuda

#define DLT_CUBLAS(call) ::dlt::cuda::check(call, #call)
#define DLT_CUDNN(call) ::dlt::cuda::check(call, #call)

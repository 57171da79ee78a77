// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include "cuda_emulator/engine.h"

using namespace dlt::emulator;

struct cublasLtContext {};

extern "C" {

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  if (const int failure = e.take_failure("cublasLtCreate"))
    return static_cast<cublasStatus_t>(failure);
  if (e.devices.empty()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device_libraries.h"

#include <cstdint>

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "backend/cuda/check.h"
#include "backend/cuda/cudnn_plans.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/library_check.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {
namespace {

/// 13000 is 13.0, 12040 is 12.4.
std::string cuda_version(int number) { return cat(number / 1000, ".", number % 1000 / 10); }

/// 130002 is 13.0.2, 91900 is 9.19.0.
std::string library_version(std::size_t number) {
  return cat(number / 10000, ".", number / 100 % 100, ".", number % 100);
}

}  // namespace

DeviceLibraries::DeviceLibraries(int device)
    : device_(device), gemms_(std::make_unique<GemmCache>()) {
  DLT_CUDA(cudaSetDevice(device));
  cudaDeviceProp properties{};
  DLT_CUDA(cudaGetDeviceProperties(&properties, device));
  num_multiprocessors_ = properties.multiProcessorCount;
  architecture_ = properties.major * 10 + properties.minor;
  if (architecture_ < 80) {
    throw Error(Exit::unavailable,
                cat("cuda: GPU ", device, " (", properties.name, ") has compute capability ",
                    properties.major, ".", properties.minor, ", expected 8.0 or newer"));
  }
  int driver = 0, runtime = 0;
  DLT_CUDA(cudaDriverGetVersion(&driver));
  DLT_CUDA(cudaRuntimeGetVersion(&runtime));
  description_ =
      cat(properties.name, ", sm_", architecture_, ", driver ", cuda_version(driver), ", runtime ",
          cuda_version(runtime), ", cuBLASLt ", library_version(cublasLtGetVersion()), ", cuDNN ",
          library_version(cudnnGetVersion()));
  DLT_CUBLAS(cublasLtCreate(&cublas_));
  if (const cudnnStatus_t status = cudnnCreate(&cudnn_); status != CUDNN_STATUS_SUCCESS) {
    (void)cublasLtDestroy(cublas_);
    failed("cudnnCreate", status);
  }
  cudnn_plans_ = std::make_unique<CudnnPlans>(cudnn_);
}

DeviceLibraries::~DeviceLibraries() {
  cudnn_plans_.reset();
  (void)cudnnDestroy(cudnn_);
  (void)cublasLtDestroy(cublas_);
}

std::shared_ptr<const Gemm> DeviceLibraries::gemm(const GemmShape& shape) const {
  // What cuBLAS itself would take on this architecture.
  const std::int64_t workspace_bytes = std::int64_t{architecture_ >= 90 ? 32 : 4} << 20;
  return gemms_->get(cublas_, shape, workspace_bytes);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

struct cublasLtContext;
struct cudnnContext;

namespace dlt::cuda {

class CudnnPlans;
class Gemm;
class GemmCache;
struct GemmShape;

/// One GPU and the handles of the vendor's libraries on it. Kernels hold a reference.
class DeviceLibraries {
 public:
  /// Makes the device current on the calling thread.
  explicit DeviceLibraries(int device);
  ~DeviceLibraries();
  DeviceLibraries(const DeviceLibraries&) = delete;
  DeviceLibraries& operator=(const DeviceLibraries&) = delete;

  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] int num_multiprocessors() const { return num_multiprocessors_; }
  /// 90 for compute capability 9.0.
  [[nodiscard]] int architecture() const { return architecture_; }
  /// "NVIDIA H200, sm_90, driver 13.0, runtime 13.0, cuBLASLt 13.0.2, cuDNN 9.19.0"
  [[nodiscard]] const std::string& description() const { return description_; }
  [[nodiscard]] cublasLtContext* cublas() const { return cublas_; }
  /// errors  Error(Exit::unavailable) if cuBLASLt has no algorithm for it
  [[nodiscard]] std::shared_ptr<const Gemm> gemm(const GemmShape& shape) const;
  [[nodiscard]] CudnnPlans& cudnn_plans() const { return *cudnn_plans_; }

 private:
  int device_;
  int num_multiprocessors_ = 0;
  int architecture_ = 0;
  std::string description_;
  cublasLtContext* cublas_ = nullptr;
  cudnnContext* cudnn_ = nullptr;
  std::unique_ptr<GemmCache> gemms_;
  std::unique_ptr<CudnnPlans> cudnn_plans_;
};

}  // namespace dlt::cuda

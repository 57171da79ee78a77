// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include <cuda_runtime_api.h>

#include "backend/cuda/precision.h"

struct cublasLtContext;

namespace dlt::cuda {

/// c [m, n] = a b, or c + a b, or a b + bias: row-major f32. a is stored [m, k], or [k, m] if
/// trans_a; b is [k, n], or [n, k] if trans_b; rows lie ld* elements apart.
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;
  bool trans_a = false, trans_b = false;
  bool accumulate = false;
  bool bias = false;                     // f32 [n]
  Precision precision = Precision::f32;  // of a and b in memory; sums are f32
  int alignment_bytes = 16;              // of all pointers, at least
  friend auto operator<=>(const GemmShape&, const GemmShape&) = default;
};

struct GemmArgs {
  const void* a = nullptr;
  const void* b = nullptr;
  float* c = nullptr;
  const float* bias = nullptr;
  std::byte* workspace = nullptr;  // Gemm::workspace_bytes() of device memory
  cudaStream_t stream = nullptr;
};

/// One shape with the algorithm that cuBLASLt's heuristic puts first: the same one on every run on
/// the same device and library. Of those that cut k into parts only the ones that add the parts in
/// a fixed order are taken.
class Gemm {
 public:
  /// errors  Error(Exit::unavailable) if the library has no algorithm for it
  Gemm(cublasLtContext* library, const GemmShape& shape, std::int64_t max_workspace_bytes);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  [[nodiscard]] std::int64_t workspace_bytes() const { return workspace_bytes_; }
  void run(const GemmArgs& args) const;

 private:
  struct Layouts;
  void find_algorithm(std::int64_t max_workspace_bytes);

  cublasLtContext* library_;
  GemmShape shape_;
  std::unique_ptr<Layouts> layouts_;
  std::int64_t workspace_bytes_ = 0;
};

/// Equal products share what was found out about them.
class GemmCache {
 public:
  [[nodiscard]] std::shared_ptr<const Gemm> get(cublasLtContext* library, const GemmShape& shape,
                                                std::int64_t max_workspace_bytes);

 private:
  std::mutex mutex_;
  std::map<GemmShape, std::shared_ptr<const Gemm>> gemms_;
};

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <cuda_runtime_api.h>

#include "backend/cuda/device_libraries.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/precision.h"

namespace dlt::cuda {

struct ProductSpec {
  GemmShape shape;  // of the f32 matrices; its precision says what they are rounded to first
  bool a_is_param = false, b_is_param = false;  // kept in 16 bits from run to run
};

struct ProductArgs {
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  const float* bias = nullptr;
  std::byte* scratch = nullptr;
  std::byte* kept = nullptr;
  bool kept_valid = false;
  cudaStream_t stream = nullptr;
};

/// A product of f32 matrices whose operands are rounded as GemmShape::precision says, by copies in
/// 16 bits.
class Product {
 public:
  Product(const DeviceLibraries& libraries, const ProductSpec& spec);

  [[nodiscard]] std::int64_t scratch_bytes() const {
    return workspace_bytes_ + a_bytes_ + b_bytes_;
  }
  [[nodiscard]] std::int64_t kept_bytes() const;
  void run(const ProductArgs& args) const;

 private:
  /// The operand as the library takes it, and where the next one's copy may begin.
  struct Operand {
    const float* from;
    bool is_a;
    std::byte* scratch;
  };
  [[nodiscard]] const void* operand(const Operand& operand, const ProductArgs& args) const;

  ProductSpec spec_;
  std::shared_ptr<const Gemm> gemm_;
  std::int64_t workspace_bytes_ = 0, a_bytes_ = 0, b_bytes_ = 0;  // multiples of 64; of copies
};

}  // namespace dlt::cuda

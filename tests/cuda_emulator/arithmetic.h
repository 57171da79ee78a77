// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <library_types.h>

namespace dlt::emulator {

/// The sum types of the vendor's libraries, on memory of the three types dltrain has: CUDA_R_32F,
/// CUDA_R_16BF, CUDA_R_16F.
[[nodiscard]] bool is_known(cudaDataType type);
[[nodiscard]] std::size_t size_of(cudaDataType type);
[[nodiscard]] float load(const void* data, cudaDataType type, std::int64_t index);
/// Rounded to nearest, ties to even.
void store(void* data, cudaDataType type, std::int64_t index, float value);
/// What tensor cores read of an f32 operand under TF32: 10 bits of mantissa.
[[nodiscard]] float round_to_tf32(float value);

/// out[m, n] = a[m, k] b[k, n], all of rows after each other; each sum in f32 by fused
/// multiply-adds in ascending order of k.
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
};
void multiply(const Product& size, const float* a, const float* b, float* out);

/// GELU by tanh, as cuBLASLt and cuDNN's GELU_APPROX_TANH have it, and its derivative.
[[nodiscard]] float gelu_tanh(float x);
[[nodiscard]] float gelu_tanh_derivative(float x);

}  // namespace dlt::emulator

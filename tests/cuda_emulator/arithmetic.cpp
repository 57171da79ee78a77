// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/arithmetic.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include <immintrin.h>

#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

constexpr float kGeluScale = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float kGeluCube = 0.044715f;

}  // namespace

bool is_known(cudaDataType type) {
  return type == CUDA_R_32F || type == CUDA_R_16BF || type == CUDA_R_16F;
}

std::size_t size_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

float load(const void* data, cudaDataType type, std::int64_t index) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[index];
  return type == CUDA_R_16BF ? from_bf16(bits) : _cvtsh_ss(bits);
}

void store(void* data, cudaDataType type, std::int64_t index, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(data)[index] = value;
  } else if (type == CUDA_R_16BF) {
    static_cast<std::uint16_t*>(data)[index] = to_bf16(value);
  } else {
    static_cast<std::uint16_t*>(data)[index] = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
  }
}

float round_to_tf32(float value) {
  if (!std::isfinite(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffu);
}

void multiply(const Product& size, const float* a, const float* b, float* out) {
  constexpr std::int64_t kColumns = 32;  // as many sums as stay in registers
  for (std::int64_t first = 0; first < size.n; first += kColumns) {
    const std::int64_t width = std::min(kColumns, size.n - first);
    for (std::int64_t i = 0; i < size.m; ++i) {
      std::array<float, kColumns> sums{};
      const float* row = a + i * size.k;
      if (width == kColumns) {
        for (std::int64_t p = 0; p < size.k; ++p) {
          const float* from = b + p * size.n + first;
          for (std::int64_t j = 0; j < kColumns; ++j) {
            auto& sum = sums[static_cast<std::size_t>(j)];
            sum = std::fma(row[p], from[j], sum);
          }
        }
      } else {
        for (std::int64_t p = 0; p < size.k; ++p) {
          const float* from = b + p * size.n + first;
          for (std::int64_t j = 0; j < width; ++j) {
            auto& sum = sums[static_cast<std::size_t>(j)];
            sum = std::fma(row[p], from[j], sum);
          }
        }
      }
      std::copy_n(sums.begin(), width, out + i * size.n + first);
    }
  }
}

float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + std::tanh(kGeluScale * (x + kGeluCube * x * x * x)));
}

float gelu_tanh_derivative(float x) {
  const float t = std::tanh(kGeluScale * (x + kGeluCube * x * x * x));
  return 0.5f * (1.0f + t) +
         0.5f * x * (1.0f - t * t) * kGeluScale * (1.0f + 3.0f * kGeluCube * x * x);
}

}  // namespace dlt::emulator

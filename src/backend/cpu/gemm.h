// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::cpu {

/// c = op(a) · op(b) + bias, then relu: f32, dense row-major, one thread, sums along k in an order
/// fixed by the shape.
/// shapes  op(a) [m,k], op(b) [k,n], c [m,n] apart from a and b, bias [n] or null
/// scratch 64-byte aligned, gemm_scratch_floats() long
struct GemmArgs {
  std::int64_t m = 0, n = 0, k = 0;
  bool trans_a = false;  // a is stored [k,m]
  bool trans_b = false;  // b is stored [n,k]
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  const float* bias = nullptr;
  bool relu = false;
  float* scratch = nullptr;
};

namespace avx2 {
void gemm(const GemmArgs& g);
void thin_gemm(const GemmArgs& g);  // m == 1 or n == 1
}  // namespace avx2
namespace avx512 {
void gemm(const GemmArgs& g);
void thin_gemm(const GemmArgs& g);
}  // namespace avx512

constexpr std::int64_t kGemmDepth = 264;  // longest run along k at a time
constexpr std::int64_t kGemmInner = 960;  // rows or columns of the smaller side at a time
constexpr std::int64_t kGemmWidest = 48;  // columns of the widest tile

/// A panel of the larger side and a block of the smaller one, rounded up to whole tiles.
constexpr std::int64_t gemm_scratch_floats(std::int64_t m, std::int64_t n, std::int64_t k) {
  const std::int64_t smaller = m < n ? m : n, depth = k < kGemmDepth ? k : kGemmDepth;
  const std::int64_t block = smaller < kGemmInner ? smaller : kGemmInner;
  return depth * (kGemmWidest + block + kGemmWidest);
}

}  // namespace dlt::cpu

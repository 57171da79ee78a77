// SPDX-License-Identifier: Apache-2.0
// The arithmetic of powersgd on one matrix M of rows x cols, row-major: M is approximated by
// P·Qᵀ with few columns. P and Q are kept column by column. Every sum has one fixed order.
#pragma once

#include <cstdint>

namespace dlt::ddp {

struct MatrixSize {
  std::int64_t rows = 1, cols = 1;
  std::int64_t rank = 1;  // columns of P and Q
};

/// p = M·q
void project(const float* m, const float* q, const MatrixSize& size, float* p);
/// q = Mᵀ·p
void project_back(const float* m, const float* p, const MatrixSize& size, float* q);
/// The columns of p orthonormal, by Gram-Schmidt in f64; what is no more than the rounding of a
/// combination of the others becomes zeros. False if a number is not finite (p is then as it was,
/// in part).
[[nodiscard]] bool orthonormalise(float* p, const MatrixSize& size);
/// Scales each column of q to length 1; a column of zeros becomes that of `fallback`.
void normalise(float* q, const float* fallback, const MatrixSize& size);
/// sum = p·q_sumᵀ and rest = m - p·q_ownᵀ, element by element; sum may be m.
struct Rebuild {
  const float* m = nullptr;
  const float* p = nullptr;
  const float* q_sum = nullptr;
  const float* q_own = nullptr;
  float* sum = nullptr;
  float* rest = nullptr;
};
void rebuild(const Rebuild& args, const MatrixSize& size);

}  // namespace dlt::ddp

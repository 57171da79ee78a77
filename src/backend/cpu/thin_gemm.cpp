// SPDX-License-Identifier: Apache-2.0
// Products whose result is one row or one column: a vector times a matrix that is read once, where
// it lies.
#include "backend/cpu/gemm.h"
#include "backend/cpu/map.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// y[j] = sum over k of x[k] · matrix(k, j) + bias[j · bias_step], then relu.
struct Thin {
  const float* x;
  const float* matrix;
  float* y;
  const float* bias;
  std::int64_t bias_step;
  std::int64_t k, n;
  bool relu;
};

float finish(const Thin& t, std::int64_t j, float sum) {
  if (t.bias != nullptr) sum += t.bias[j * t.bias_step];
  return t.relu && sum < 0.0f ? 0.0f : sum;
}

/// The matrix is stored [k, n].
template <std::int64_t width>
DLT_INLINE void add_rows(const Thin& t, std::int64_t j, std::int64_t count) {
  vf sums[width] = {};
  for (std::int64_t k = 0; k < t.k; ++k) {
    const float* row = t.matrix + k * t.n + j;
    for (std::int64_t u = 0; u < width; ++u) {
      const vf values = width == 1 ? load_some(row, count) : load(row + u * kLanes);
      sums[u] = fma(set1(t.x[k]), values, sums[u]);
    }
  }
  for (std::int64_t u = 0; u < width; ++u) {
    float lanes[kLanes];
    store(lanes, sums[u]);
    const std::int64_t at = j + u * kLanes;
    for (std::int64_t i = 0; i < kLanes && i < count; ++i)
      t.y[at + i] = finish(t, at + i, lanes[i]);
  }
}

void rows_times_numbers(const Thin& t) {
  std::int64_t j = 0;
  for (; j + 8 * kLanes <= t.n; j += 8 * kLanes) add_rows<8>(t, j, kLanes);
  for (; j < t.n; j += kLanes) add_rows<1>(t, j, t.n - j);
}

/// The matrix is stored [n, k]: a dot product for each row, four at a time.
void dots(const Thin& t) {
  const auto term = [&](std::int64_t row, std::int64_t k, std::int64_t count) {
    return load_some(t.matrix + row * t.k + k, count) * load_some(t.x + k, count);
  };
  for (std::int64_t j = 0; j < t.n; ++j) {
    const float total =
        reduce_sum(t.k, [&](std::int64_t k, std::int64_t count) { return term(j, k, count); });
    t.y[j] = finish(t, j, total);
  }
}

}  // namespace

void thin_gemm(const GemmArgs& g) {
  if (g.m == 1) {
    const Thin t{g.a, g.b, g.c, g.bias, 1, g.k, g.n, g.relu};
    g.trans_b ? dots(t) : rows_times_numbers(t);
  } else {
    const Thin t{g.b, g.a, g.c, g.bias, 0, g.k, g.m, g.relu};
    g.trans_a ? rows_times_numbers(t) : dots(t);
  }
}

}  // namespace dlt::cpu::DLT_ISA

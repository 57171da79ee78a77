// SPDX-License-Identifier: Apache-2.0
// Kernels that reduce rows: a warp takes a short row, a block a long one. Threads take groups of
// four that lie well in memory if the matrix does. Groups and the order of sums depend on sizes
// alone, so that results do not depend on where memory lies or how many rows run at once.
#pragma once

#include <cstdint>
#include <utility>

#include "backend/cuda/device.h"
#include "backend/cuda/elements.h"

namespace dlt::cuda {

constexpr std::int64_t kWarpColumns = 1024;  // what a warp takes

/// The threads that work on one row: a warp of a block, or all kThreads of it. Whole teams call all
/// functions.
template <int kTeamThreads>
struct Team {
  static constexpr int kSize = kTeamThreads;
  static_assert(kSize == 32 || kSize == kThreads);

  static __device__ int rank() { return static_cast<int>(threadIdx.x) % kSize; }
  /// This team's number in the grid, and the number of all teams.
  static __device__ std::int64_t first() { return first_index() / kSize; }
  static __device__ std::int64_t stride() { return index_stride() / kSize; }

  /// All threads' values put together by op, which every thread gets.
  template <typename T, typename Op>
  static __device__ T reduce(T value, Op op) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      value = op(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    }
    if constexpr (kSize > 32) {
      __shared__ T parts[kSize / 32];
      __syncthreads();  // an earlier one has been read
      if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
      __syncthreads();
      value = parts[0];
      for (int warp = 1; warp < kSize / 32; ++warp) value = op(value, parts[warp]);
    }
    return value;
  }
  template <typename T>
  static __device__ T sum(T value) {
    return reduce(value, [](T a, T b) { return a + b; });
  }
  static __device__ float largest(float value) {
    return reduce(value, [](float a, float b) { return fmaxf(a, b); });
  }
  static __device__ int smallest(int value) {
    return reduce(value, [](int a, int b) { return a < b ? a : b; });
  }
};
using Warp = Team<32>;
using Block = Team<kThreads>;

/// One row of a matrix as groups of four columns; the first and the last may be cut.
struct Row {
  std::int64_t start, columns, groups;
  int shift;  // columns of the first group that are the row before's

  __device__ Row(std::int64_t row, std::int64_t num_columns)
      : start(row * num_columns), columns(num_columns), shift(static_cast<int>(start % 4)) {
    groups = (columns + shift + 3) / 4;
  }
  [[nodiscard]] __device__ std::int64_t column(std::int64_t group) const {
    return 4 * group - shift;
  }
  [[nodiscard]] __device__ bool has(std::int64_t column) const {
    return column >= 0 && column < columns;
  }
  [[nodiscard]] __device__ bool is_whole(std::int64_t group) const {
    return column(group) >= 0 && column(group) + 4 <= columns;
  }
};

/// A group's numbers, 0 where it is cut; `aligned`: x is.
__device__ inline Four load_four(const float* x, const Row& row, std::int64_t group, bool aligned) {
  const std::int64_t first = row.column(group);
  if (aligned && row.is_whole(group)) {
    const float4 v = *reinterpret_cast<const float4*>(x + row.start + first);
    return {{v.x, v.y, v.z, v.w}};
  }
  Four four{};
  for (int u = 0; u < 4; ++u) {
    if (row.has(first + u)) four.x[u] = x[row.start + first + u];
  }
  return four;
}

__device__ inline void store_four(float* y, const Four& four, const Row& row, std::int64_t group,
                                  bool aligned) {
  const std::int64_t first = row.column(group);
  if (aligned && row.is_whole(group)) {
    *reinterpret_cast<float4*>(y + row.start + first) =
        make_float4(four.x[0], four.x[1], four.x[2], four.x[3]);
    return;
  }
  for (int u = 0; u < 4; ++u) {
    if (row.has(first + u)) y[row.start + first + u] = four.x[u];
  }
}

/// f(column, number) for the numbers of x that are this thread's.
template <typename Team, typename F>
__device__ void each_number(const float* x, const Row& row, bool aligned, F f) {
  for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
    const Four four = load_four(x, row, g, aligned);
    const std::int64_t first = row.column(g);
    for (int u = 0; u < 4; ++u) {
      if (row.has(first + u)) f(first + u, four.x[u]);
    }
  }
}

/// y = f(column, number of x), where y may be x.
template <typename Team, typename F>
__device__ void map_numbers(const float* x, float* y, const Row& row, bool aligned, F f) {
  for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
    Four four = load_four(x, row, g, aligned);
    const std::int64_t first = row.column(g);
    for (int u = 0; u < 4; ++u) four.x[u] = f(first + u, four.x[u]);
    store_four(y, four, row, g, aligned);
  }
}

/// log(sum(exp(x))) of a row as its largest number and the rest, in one pass over it.
struct LogSum {
  float shift, total, log_total;
};
template <typename Team>
__device__ LogSum log_sum(const float* x, const Row& row, bool aligned) {
  constexpr float kLowest = -3.402823466e38f;  // -inf would have no difference from itself
  float shift = kLowest, total = 0.0f;
  for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
    const Four four = load_four(x, row, g, aligned);
    const std::int64_t first = row.column(g);
    float best = shift;
    for (int u = 0; u < 4; ++u) {
      if (row.has(first + u)) best = fmaxf(best, four.x[u]);
    }
    total *= expf(shift - best);
    shift = best;
    for (int u = 0; u < 4; ++u) {
      if (row.has(first + u)) total += expf(four.x[u] - shift);
    }
  }
  const float best = Team::largest(shift);
  total = Team::sum(total * expf(shift - best));
  if (total == 0.0f) total = nanf("");  // a row of nothing but -inf has none
  return {best, total, logf(total)};
}

/// The kernel as warps and as blocks do it.
template <typename... P>
struct RowKernel {
  void (*by_warp)(P...);
  void (*by_block)(P...);
};
template <typename... P>
RowKernel(void (*)(P...), void (*)(P...)) -> RowKernel<P...>;

template <typename... P, typename... A>
void launch_rows(const RowKernel<P...>& kernel, std::int64_t rows, std::int64_t columns,
                 const DeviceLibraries& libraries, cudaStream_t stream, A&&... args) {
  if (rows == 0) return;
  const bool warp = columns <= kWarpColumns;
  launch(warp ? kernel.by_warp : kernel.by_block,
         grid_of(rows * (warp ? Warp::kSize : Block::kSize), libraries), stream,
         std::forward<A>(args)...);
}

}  // namespace dlt::cuda

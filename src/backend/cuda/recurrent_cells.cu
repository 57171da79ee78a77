// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cuda/activation_math.h"
#include "backend/cuda/device.h"
#include "backend/cuda/recurrent_cells.h"
#include "backend/cuda/rounding.h"

namespace dlt::cuda {
namespace {

constexpr int kBlock = 256;

__device__ inline float row_of(const StateRows& rows, std::int64_t b, std::int64_t j) {
  return rows.first == nullptr ? 0.0f : rows.first[b * rows.stride + j];
}

/// Sample and unit of a thread, and where its numbers lie.
struct CellPlace {
  std::int64_t b, j;
  bool exists, skipped;

  __device__ explicit CellPlace(const CellShape& s) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    b = i / s.units;
    j = i % s.units;
    exists = b < s.batch;
    skipped = exists && s.mask != nullptr && s.mask[b * s.steps] == 0.0f;
  }
  /// In a sequence of rows of `gates` times units numbers, or in a matrix of such rows.
  [[nodiscard]] __device__ std::int64_t in_sequence(const CellShape& s, int gates, int gate) const {
    return (b * s.steps * gates + gate) * s.units + j;
  }
  [[nodiscard]] __device__ std::int64_t in_matrix(const CellShape& s, int gates, int gate) const {
    return (b * gates + gate) * s.units + j;
  }
};

template <typename Copy>
__device__ void put_copy(const CellShape& s, void* copy, const CellPlace& at, int gate,
                         float value) {
  store_rounded(value, s.precision,
                static_cast<Copy*>(copy)[at.b * s.copy_stride + gate * s.units + at.j]);
}

template <typename Copy>
__device__ void put_state(const CellShape& s, const CellPlace& at, float h, float* y, float* last,
                          void* copy) {
  y[at.in_sequence(s, 1, 0)] = h;
  if (last != nullptr) last[at.in_matrix(s, 1, 0)] = h;
  put_copy<Copy>(s, copy, at, 0, h);
}

template <typename Copy>
__global__ void cell_kernel(LstmCell c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  float gates[4]{}, cell = row_of(c.c_before, at.b, at.j), h = row_of(c.h_before, at.b, at.j);
  if (!at.skipped) {
    for (int g = 0; g < 4; ++g) {
      const float sum = c.sums == nullptr ? 0.0f : c.sums[at.in_matrix(s, 4, g)];
      gates[g] = c.x[at.in_sequence(s, 4, g)] + sum;
      gates[g] = g == 2 ? tanhf(gates[g]) : sigmoid(gates[g]);
    }
    cell = fmaf(gates[1], cell, gates[0] * gates[2]);
    h = gates[3] * tanhf(cell);
  }
  for (int g = 0; g < 4; ++g) c.gates[at.in_sequence(s, 4, g)] = gates[g];
  c.cells[at.in_sequence(s, 1, 0)] = cell;
  if (c.last_c != nullptr) c.last_c[at.in_matrix(s, 1, 0)] = cell;
  put_state<Copy>(s, at, h, c.y, c.last_h, c.copy);
}

template <typename Copy>
__global__ void cell_kernel(GruCell c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  float gates[3]{}, inner = 0.0f, h = row_of(c.h_before, at.b, at.j);
  if (!at.skipped) {
    float sums[3], x[3];
    for (int g = 0; g < 3; ++g) {
      sums[g] = c.bias == nullptr ? 0.0f : c.bias[g * s.units + at.j];
      if (c.sums != nullptr) sums[g] += c.sums[at.in_matrix(s, 3, g)];
      x[g] = c.x[at.in_sequence(s, 3, g)];
    }
    gates[0] = sigmoid(x[0] + sums[0]);
    gates[1] = sigmoid(x[1] + sums[1]);
    inner = sums[2];
    gates[2] = tanhf(fmaf(gates[0], inner, x[2]));
    h = fmaf(gates[1], h - gates[2], gates[2]);
  }
  for (int g = 0; g < 3; ++g) c.gates[at.in_sequence(s, 3, g)] = gates[g];
  c.inner[at.in_sequence(s, 1, 0)] = inner;
  put_state<Copy>(s, at, h, c.y, c.last_h, c.copy);
}

template <typename Copy>
__global__ void cell_kernel(SimpleCell c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  float h = row_of(c.h_before, at.b, at.j);
  if (!at.skipped) {
    const float sum = c.sums == nullptr ? 0.0f : c.sums[at.in_matrix(s, 1, 0)];
    h = activation_value(c.activation, c.x[at.in_sequence(s, 1, 0)] + sum, 0.0f);
  }
  put_state<Copy>(s, at, h, c.y, c.last_h, c.copy);
}

/// The gradient of the state behind the step.
__device__ inline float state_grad(const CellShape& s, const CellPlace& at, const float* dh,
                                   const float* dy) {
  const float sum = dh[at.in_matrix(s, 1, 0)];
  return dy == nullptr ? sum : sum + dy[at.in_sequence(s, 1, 0)];
}

template <typename Copy>
__global__ void cell_kernel(LstmCellGrad c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  const std::int64_t state = at.in_matrix(s, 1, 0);
  const float dh = state_grad(s, at, c.dh, c.dy);
  float d[4]{};
  if (!at.skipped) {
    float gate[4];
    for (int g = 0; g < 4; ++g) gate[g] = c.gates[at.in_sequence(s, 4, g)];
    const float squashed = tanhf(c.cells[at.in_sequence(s, 1, 0)]);
    const float before = row_of(c.c_before, at.b, at.j);
    const float dc = fmaf(dh * gate[3], fmaf(-squashed, squashed, 1.0f), c.dc[state]);
    d[0] = dc * gate[2] * gate[0] * (1.0f - gate[0]);
    d[1] = dc * before * gate[1] * (1.0f - gate[1]);
    d[2] = dc * gate[0] * fmaf(-gate[2], gate[2], 1.0f);
    d[3] = dh * squashed * gate[3] * (1.0f - gate[3]);
    c.dc[state] = dc * gate[1];
  }
  c.dh[state] = at.skipped ? dh : 0.0f;
  for (int g = 0; g < 4; ++g) {
    c.dx[at.in_sequence(s, 4, g)] = d[g];
    put_copy<Copy>(s, c.copy, at, g, d[g]);
  }
}

template <typename Copy>
__global__ void cell_kernel(GruCellGrad c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  const float dh = state_grad(s, at, c.dh, c.dy);
  float d[3]{}, of_inner = 0.0f, past = dh;
  if (!at.skipped) {
    const float r = c.gates[at.in_sequence(s, 3, 0)], z = c.gates[at.in_sequence(s, 3, 1)];
    const float n = c.gates[at.in_sequence(s, 3, 2)];
    const float before = row_of(c.h_before, at.b, at.j);
    const float dn = dh * (1.0f - z) * fmaf(-n, n, 1.0f);
    d[0] = dn * c.inner[at.in_sequence(s, 1, 0)] * r * (1.0f - r);
    d[1] = dh * (before - n) * z * (1.0f - z);
    d[2] = dn;
    of_inner = dn * r;
    past = dh * z;
  }
  c.dh[at.in_matrix(s, 1, 0)] = past;
  c.dinner[at.in_sequence(s, 1, 0)] = of_inner;
  for (int g = 0; g < 3; ++g) {
    c.dx[at.in_sequence(s, 3, g)] = d[g];
    put_copy<Copy>(s, c.copy, at, g, g == 2 ? of_inner : d[g]);
  }
}

template <typename Copy>
__global__ void cell_kernel(SimpleCellGrad c) {
  const CellShape& s = c.shape;
  const CellPlace at(s);
  if (!at.exists) return;
  const float dh = state_grad(s, at, c.dh, c.dy), y = c.y[at.in_sequence(s, 1, 0)];
  const float slope =
      c.activation == tensor::Activation::relu ? (y > 0.0f ? 1.0f : 0.0f) : fmaf(-y, y, 1.0f);
  const float d = at.skipped ? 0.0f : dh * slope;
  c.dh[at.in_matrix(s, 1, 0)] = at.skipped ? dh : 0.0f;
  c.dx[at.in_sequence(s, 1, 0)] = d;
  put_copy<Copy>(s, c.copy, at, 0, d);
}

template <typename Copy>
__global__ void states_kernel(StatesBefore s) {
  const std::int64_t count = s.batch * s.steps * s.units;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const std::int64_t j = i % s.units, row = i / s.units, b = row / s.steps, t = row % s.steps;
    const std::int64_t before = s.reverse ? t + 1 : t - 1;
    const float h = before >= 0 && before < s.steps ? s.y[(b * s.steps + before) * s.units + j]
                                                    : row_of(s.first, b, j);
    store_rounded(h, s.precision, static_cast<Copy*>(s.to)[row * s.copy_stride + j]);
  }
}

Grid cell_grid(std::int64_t threads) {
  const std::int64_t blocks = std::max<std::int64_t>((threads + kBlock - 1) / kBlock, 1);
  return {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kBlock)};
}

template <typename Cell>
void run(const Cell& cell, cudaStream_t stream) {
  const CellShape& s = cell.shape;
  const Grid grid = cell_grid(s.batch * s.units);
  switch (s.precision) {
    case Precision::f32:
    case Precision::tf32:
      return launch(static_cast<void (*)(Cell)>(cell_kernel<float>), grid, stream, cell);
    case Precision::bf16:
      return launch(static_cast<void (*)(Cell)>(cell_kernel<__nv_bfloat16>), grid, stream, cell);
    case Precision::f16:
      return launch(static_cast<void (*)(Cell)>(cell_kernel<__half>), grid, stream, cell);
  }
}

}  // namespace

void run_cell(const LstmCell& cell, cudaStream_t stream) { run(cell, stream); }
void run_cell(const GruCell& cell, cudaStream_t stream) { run(cell, stream); }
void run_cell(const SimpleCell& cell, cudaStream_t stream) { run(cell, stream); }
void run_cell(const LstmCellGrad& cell, cudaStream_t stream) { run(cell, stream); }
void run_cell(const GruCellGrad& cell, cudaStream_t stream) { run(cell, stream); }
void run_cell(const SimpleCellGrad& cell, cudaStream_t stream) { run(cell, stream); }

void copy_states(const StatesBefore& s, cudaStream_t stream) {
  const Grid grid = cell_grid(std::min<std::int64_t>(s.batch * s.steps * s.units, 8192 * kBlock));
  switch (s.precision) {
    case Precision::f32:
    case Precision::tf32:
      return launch(states_kernel<float>, grid, stream, s);
    case Precision::bf16:
      return launch(states_kernel<__nv_bfloat16>, grid, stream, s);
    case Precision::f16:
      return launch(states_kernel<__half>, grid, stream, s);
  }
}

}  // namespace dlt::cuda

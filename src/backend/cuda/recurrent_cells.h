// SPDX-License-Identifier: Apache-2.0
// One step of a recurrent layer behind its matrix product, and backwards in front of it: everything
// of all samples in one kernel.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "backend/cuda/precision.h"
#include "tensor/kernel_form.h"

namespace dlt::cuda {

/// Row b of a [batch, units] matrix lies b · stride behind the first; null: zeros.
struct StateRows {
  const float* first = nullptr;
  std::int64_t stride = 0;
};

/// Pointers into sequences [batch, steps, ...] point to the step; their rows are those of `steps`
/// steps apart.
struct CellShape {
  std::int64_t batch = 0, steps = 0, units = 0;
  std::int64_t copy_stride = 0;          // of the copy that the next product reads
  Precision precision = Precision::f32;  // of that copy
  const float* mask = nullptr;           // of the step; null: every sample takes it
};

struct LstmCell {
  CellShape shape;
  const float *x, *sums;  // sums [batch, 4 units] of the product; null: zeros
  StateRows h_before, c_before;
  float *gates, *y, *cells;  // gates may be x
  float *last_h, *last_c;    // [batch, units], or null
  void* copy;                // [batch, units]: h
};
void run_cell(const LstmCell& cell, cudaStream_t stream);

struct GruCell {
  CellShape shape;
  const float *x, *sums, *bias;  // bias [3 units], or null
  StateRows h_before;
  float *gates, *y, *inner;  // gates may be x
  float* last_h;
  void* copy;
};
void run_cell(const GruCell& cell, cudaStream_t stream);

struct SimpleCell {
  CellShape shape;
  const float *x, *sums;
  StateRows h_before;
  float* y;  // may be x
  float* last_h;
  void* copy;
  tensor::Activation activation;
};
void run_cell(const SimpleCell& cell, cudaStream_t stream);

// Backwards: dh holds the gradient of the state behind the step, but for dy, and gets what goes to
// the state before it past the product. copy [batch, gates · units] is what the product multiplies.

struct LstmCellGrad {
  CellShape shape;
  const float *gates, *cells, *dy;  // dy null: zeros
  StateRows c_before;
  float *dh, *dc;  // [batch, units]
  float* dx;       // may be gates
  void* copy;
};
void run_cell(const LstmCellGrad& cell, cudaStream_t stream);

struct GruCellGrad {
  CellShape shape;
  const float *gates, *inner, *dy;
  StateRows h_before;
  float* dh;
  float *dx, *dinner;  // dx may be gates
  void* copy;
};
void run_cell(const GruCellGrad& cell, cudaStream_t stream);

struct SimpleCellGrad {
  CellShape shape;
  const float *y, *dy;
  float* dh;
  float* dx;
  void* copy;
  tensor::Activation activation;
};
void run_cell(const SimpleCellGrad& cell, cudaStream_t stream);

/// Row (b, t) of `to` becomes row (b, t - 1) of y [batch, steps, units], with reverse (b, t + 1),
/// or `first`'s row b where there is none.
struct StatesBefore {
  const float* y;
  StateRows first;
  std::int64_t batch, steps, units;
  bool reverse;
  void* to;  // rows copy_stride apart
  std::int64_t copy_stride;
  Precision precision;
};
void copy_states(const StatesBefore& states, cudaStream_t stream);

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Recurrent layers: what their routines get. Sequences are batch-major, as in docs/ops.md; within,
// the rows of one step lie side by side in scratch, and the recurrent weight is packed once a call.
#pragma once

#include <cstdint>

#include "backend/cpu/gemm.h"

namespace dlt::cpu {

/// Samples that go through all steps together: their rows of a step stay in the second-level cache
/// beside the weight.
constexpr std::int64_t kRecurrentRows = 64;

struct RecurrentSizes {
  std::int64_t batch = 0, steps = 0, units = 0;
  bool reverse = false;
  Precision precision = Precision::f32;
};

/// Operands as in docs/ops.md; those a call does not have are null. gates may be x.
struct LstmCall {
  RecurrentSizes sizes;
  const float *x, *weight, *h0, *c0, *mask;
  float *gates, *y, *last_h, *last_c, *cells;
  float* scratch;
};
struct LstmGradCall {
  RecurrentSizes sizes;
  const float *gates, *cells, *weight, *c0, *mask, *dy, *dlast_h, *dlast_c;
  float *dx, *dh0, *dc0;  // dx may be gates
  float* scratch;
};
struct GruCall {
  RecurrentSizes sizes;
  const float *x, *weight, *bias, *h0, *mask;
  float *gates, *y, *last_h, *inner;
  float* scratch;
};
struct GruGradCall {
  RecurrentSizes sizes;
  const float *gates, *y, *inner, *weight, *h0, *mask, *dy, *dlast_h;
  float *dx, *dinner, *dh0;
  float* scratch;
};
struct SimpleRnnCall {
  RecurrentSizes sizes;
  bool relu = false;
  const float *x, *weight, *h0, *mask;
  float *y, *last_h;
  float* scratch;
};
struct SimpleRnnGradCall {
  RecurrentSizes sizes;
  bool relu = false;
  const float *y, *weight, *mask, *dy, *dlast_h;
  float *dx, *dh0;
  float* scratch;
};
struct RecurrentWeightGradCall {
  RecurrentSizes sizes;
  std::int64_t width = 0;
  const float *y, *d, *inner, *h0;
  float* dweight;
  float* scratch;
};

#define DLT_RECURRENT_ROUTINES                      \
  void lstm(const LstmCall& c);                     \
  void lstm_grad(const LstmGradCall& c);            \
  void gru(const GruCall& c);                       \
  void gru_grad(const GruGradCall& c);              \
  void simple_rnn(const SimpleRnnCall& c);          \
  void simple_rnn_grad(const SimpleRnnGradCall& c); \
  void recurrent_weight_grad(const RecurrentWeightGradCall& c);
namespace avx2 {
DLT_RECURRENT_ROUTINES
}
namespace avx512 {
DLT_RECURRENT_ROUTINES
}
#undef DLT_RECURRENT_ROUTINES

/// A piece of scratch in whole cache lines.
constexpr std::int64_t in_lines(std::int64_t floats) { return (floats + 15) / 16 * 16; }

/// Floats of scratch of the steps of a layer with `gates` gates: the packed weight, one step's
/// sums [rows, gates · H], two states [rows, H], and what the product needs. Enough for both
/// directions.
constexpr std::int64_t recurrent_scratch_floats(const RecurrentSizes& s, std::int64_t gates) {
  const auto most = [](std::int64_t x, std::int64_t y) { return x > y ? x : y; };
  const std::int64_t rows = s.batch < kRecurrentRows ? s.batch : kRecurrentRows;
  const std::int64_t width = gates * s.units;
  return in_lines(
             most(gemm_packed_b_floats(width, s.units), gemm_packed_b_floats(s.units, width))) +
         in_lines(rows * width) + 2 * in_lines(rows * s.units) +
         most(gemm_scratch_floats(rows, width, s.units, s.precision),
              gemm_scratch_floats(rows, s.units, width, s.precision));
}

}  // namespace dlt::cpu

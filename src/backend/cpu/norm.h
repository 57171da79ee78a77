// SPDX-License-Identifier: Apache-2.0
// Plans of the normalisations and their routines.
#pragma once

#include <cstdint>

#include "backend/cpu/planned.h"

namespace dlt::cpu {

/// batch_norm and group_norm: x is [batch, rows, channels]; `fold` rows side by side fill whole
/// vectors where the channels alone do not.
struct ColumnNormPlan {
  std::int64_t batch = 0, rows = 0, channels = 0, groups = 1, fold = 1;
  double eps = 1e-5;
  bool relu = false;
  bool past = false;  // batch_norm: the last input is added in front of relu (or is the output)
};

/// layer_norm and rms_norm: x is [rows, n].
struct RowNormPlan {
  std::int64_t rows = 0, n = 0;
  float eps = 1e-5f;
};

constexpr std::int64_t kColumnArrays = 11;  // scratch of a ColumnNormPlan: so many of the pitch
constexpr std::int64_t kMaxLanes = 16;
/// Floats from one array of fold·channels numbers to the next.
constexpr std::int64_t column_pitch(const ColumnNormPlan& plan) {
  return (plan.fold * plan.channels + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
}

#define DLT_NORM_ROUTINES(isa)                                               \
  namespace isa {                                                            \
  void batch_moments(const ColumnNormPlan& plan, const Memory& m);           \
  void batch_moments_grad(const ColumnNormPlan& plan, const Memory& m);      \
  void batch_norm_moments(const ColumnNormPlan& plan, const Memory& m);      \
  void batch_norm_moments_grad(const ColumnNormPlan& plan, const Memory& m); \
  void batch_norm(const ColumnNormPlan& plan, const Memory& m);              \
  void batch_norm_grad(const ColumnNormPlan& plan, const Memory& m);         \
  void batch_norm_inference(const ColumnNormPlan& plan, const Memory& m);    \
  void batch_norm_statistics(const ColumnNormPlan& plan, const Memory& m);   \
  void group_norm(const ColumnNormPlan& plan, const Memory& m);              \
  void group_norm_grad(const ColumnNormPlan& plan, const Memory& m);         \
  void layer_norm(const RowNormPlan& plan, const Memory& m);                 \
  void add_layer_norm(const RowNormPlan& plan, const Memory& m);             \
  void layer_norm_grad(const RowNormPlan& plan, const Memory& m);            \
  void rms_norm(const RowNormPlan& plan, const Memory& m);                   \
  void rms_norm_grad(const RowNormPlan& plan, const Memory& m);              \
  }
DLT_NORM_ROUTINES(avx2)
DLT_NORM_ROUTINES(avx512)
#undef DLT_NORM_ROUTINES

}  // namespace dlt::cpu

// SPDX-License-Identifier: Apache-2.0
// Plans of pooling, resizing and framing of images [batch, height, width, channels], and their
// routines.
#pragma once

#include <cstdint>

#include "backend/cpu/planned.h"

namespace dlt::cpu {

struct PoolPlan {
  std::int64_t batch = 0, in_height = 0, in_width = 0, out_height = 0, out_width = 0, channels = 0;
  std::int64_t window_height = 1, window_width = 1, stride_height = 1, stride_width = 1;
  std::int64_t top = 0, left = 0;
  bool count_include_pad = false;
  bool overlap = false;  // a cell may lie in several windows
  bool gaps = false;     // a cell may lie in none
};

/// x is [batch, places, channels]; without a mask all places count.
struct GlobalPoolPlan {
  std::int64_t batch = 0, places = 0, channels = 0;
};

/// From a small image to one of factor times its size.
struct UpsamplePlan {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  // of the small image
  std::int64_t factor_height = 1, factor_width = 1;
  bool bilinear = false;
};

/// A small image at (top, left) of a large one.
struct FramePlan {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  // of the small image
  std::int64_t large_height = 0, large_width = 0, top = 0, left = 0;
};

#define DLT_POOL_ROUTINES(isa)                                            \
  namespace isa {                                                         \
  void max_pool2d(const PoolPlan& plan, const Memory& m);                 \
  void max_pool2d_grad(const PoolPlan& plan, const Memory& m);            \
  void avg_pool2d(const PoolPlan& plan, const Memory& m);                 \
  void avg_pool2d_grad(const PoolPlan& plan, const Memory& m);            \
  void global_avg_pool(const GlobalPoolPlan& plan, const Memory& m);      \
  void global_avg_pool_grad(const GlobalPoolPlan& plan, const Memory& m); \
  void global_max_pool(const GlobalPoolPlan& plan, const Memory& m);      \
  void global_max_pool_grad(const GlobalPoolPlan& plan, const Memory& m); \
  void upsample2d(const UpsamplePlan& plan, const Memory& m);             \
  void upsample2d_grad(const UpsamplePlan& plan, const Memory& m);        \
  }
DLT_POOL_ROUTINES(avx2)
DLT_POOL_ROUTINES(avx512)
#undef DLT_POOL_ROUTINES

}  // namespace dlt::cpu

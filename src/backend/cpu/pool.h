// SPDX-License-Identifier: Apache-2.0
// Routines of pooling and resizing of images.
#pragma once

#include "backend/cpu/planned.h"
#include "tensor/image_geometry.h"

namespace dlt::cpu {

using PoolPlan = tensor::PoolGeometry;
using GlobalPoolPlan = tensor::GlobalPoolGeometry;  // without a mask all places count
using UpsamplePlan = tensor::UpsampleGeometry;
using FramePlan = tensor::FrameGeometry;

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

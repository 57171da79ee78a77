// SPDX-License-Identifier: Apache-2.0
// Device code: numbers as attribute precision rounds them (to nearest, ties to even).
#pragma once

#include "backend/cuda/device.h"
#include "backend/cuda/precision.h"

namespace dlt::cuda {

__device__ inline void store_rounded(float value, Precision, __nv_bfloat16& to) {
  to = __float2bfloat16_rn(value);
}
__device__ inline void store_rounded(float value, Precision, __half& to) {
  to = __float2half_rn(value);
}
/// Rounded, and in 32 bits all the same.
__device__ inline void store_rounded(float value, Precision precision, float& to) {
  to = value;
  if (precision == Precision::bf16) to = __bfloat162float(__float2bfloat16_rn(value));
  if (precision == Precision::f16) to = __half2float(__float2half_rn(value));
}
__device__ inline float rounded(float value, Precision precision) {
  float result = value;
  store_rounded(value, precision, result);
  return result;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Functions of one number that several kernels use: within a few roundings, exact limits, NaN stays
// NaN. Multiply-adds are written where they are meant (see CMakeLists.txt).
#pragma once

#include "backend/cuda/device.h"

namespace dlt::cuda {

__device__ inline float sigmoid(float x) {
  const float e = expf(-fabsf(x)), y = 1.0f / (1.0f + e);
  return x < 0.0f ? e * y : y;
}

__device__ inline float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

/// base^exponent for base >= 0 and exponent >= 0; 0^0 is 1.
__device__ inline float power(float base, float exponent) {
  if (exponent == 0.0f) return 1.0f;
  if (exponent == 1.0f) return base;
  if (exponent == 2.0f) return base * base;
  return powf(base, exponent);
}

/// Normal distribution function, with a small relative error on both sides.
__device__ inline float normal_cdf(float x) { return 0.5f * erfcf(x * -0.707106781186547524f); }

/// exp(-x²/2) / sqrt(2 pi)
__device__ inline float normal_density(float x) {
  return 0.398942280401432678f * expf(-0.5f * x * x);
}

/// s = 1/2 (1 + tanh u) = sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x³), the gate of gelu by
/// tanh; and 1 - s without cancellation.
struct GeluGate {
  float open, closed;
};
constexpr float kRootTwoOverPi = 0.797884560802865356f, kGeluCubic = 0.044715f;
__device__ inline GeluGate gelu_gate(float x) {
  const float twice = 2.0f * kRootTwoOverPi * (x * fmaf(x * x, kGeluCubic, 1.0f));
  const float e = expf(-fabsf(twice)), larger = 1.0f / (1.0f + e), smaller = e * larger;
  return twice < 0.0f ? GeluGate{smaller, larger} : GeluGate{larger, smaller};
}

}  // namespace dlt::cuda

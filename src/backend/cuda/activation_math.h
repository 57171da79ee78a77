// SPDX-License-Identifier: Apache-2.0
// Device code: f32 functions with the meaning of src/ops/activation.h. NaN goes through.
#pragma once

#include "backend/cuda/activate.h"
#include "backend/cuda/device.h"

namespace dlt::cuda {

__device__ inline float sigmoid_of(float x) {
  const float e = expf(-fabsf(x));
  return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

__device__ inline float activation_value(Activation activation, float x, float alpha) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0.0f ? 0.0f : x;
    case Activation::leaky_relu:
      return x > 0.0f ? x : alpha * x;
    case Activation::tanh:
      return tanhf(x);
    case Activation::sigmoid:
      return sigmoid_of(x);
    case Activation::softplus:
      return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));
  }
  return x;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Device code: f32 functions with the meaning of src/ops/activation.h. NaN goes through.
#pragma once

#include "backend/cuda/elementary.h"
#include "tensor/kernel_form.h"

namespace dlt::cuda {

__device__ inline float activation_value(tensor::Activation activation, float x, float alpha) {
  switch (activation) {
    case tensor::Activation::none:
      return x;
    case tensor::Activation::relu:
      return x < 0.0f ? 0.0f : x;
    case tensor::Activation::leaky_relu:
      return x > 0.0f ? x : alpha * x;
    case tensor::Activation::tanh:
      return tanhf(x);
    case tensor::Activation::sigmoid:
      return sigmoid(x);
    case tensor::Activation::softplus:
      return softplus(x);
  }
  return x;
}

}  // namespace dlt::cuda

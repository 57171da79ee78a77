// SPDX-License-Identifier: Apache-2.0
// What goes behind a product: bias and activation, in place.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "tensor/kernel_form.h"

namespace dlt::cuda {

struct Activate {
  float* y = nullptr;           // [rows, columns]
  const float* bias = nullptr;  // [columns], or null
  std::int64_t rows = 0, columns = 0;
  tensor::Activation activation = tensor::Activation::none;
  float alpha = 0.01f;
};

/// y = activation(y + bias); nothing is put into the stream if that changes nothing.
void activate(const Activate& a, cudaStream_t stream);

}  // namespace dlt::cuda

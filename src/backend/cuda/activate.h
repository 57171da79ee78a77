// SPDX-License-Identifier: Apache-2.0
// What goes behind a product: bias and activation, in place.
#pragma once

#include <cstdint>
#include <optional>

#include <cuda_runtime_api.h>

#include "tensor/kernel.h"

namespace dlt::cuda {

enum class Activation : std::uint8_t { none, relu, leaky_relu, tanh, sigmoid, softplus };

/// Of attribute activation (none). None if it is no word of the list.
[[nodiscard]] std::optional<Activation> activation_of(const tensor::Attrs& attrs);

struct Activate {
  float* y = nullptr;           // [rows, columns]
  const float* bias = nullptr;  // [columns], or null
  std::int64_t rows = 0, columns = 0;
  Activation activation = Activation::none;
  float alpha = 0.01f;
};

/// y = activation(y + bias); nothing is put into the stream if that changes nothing.
void activate(const Activate& a, cudaStream_t stream);

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// Activations of ops that end in one.
#pragma once

#include "backend/cpu/map.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {

/// y = activation(y)
static inline void activate(Activation activation, float alpha, float* y, std::int64_t n) {
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return map(y, y, n, [](vf x) { return max(vf{}, x); });
    case Activation::leaky_relu:
      return map(y, y, n, [alpha](vf x) { return select(x > 0.0f, x, x * alpha); });
    case Activation::tanh:
      return map(y, y, n, [](vf x) { return tanh(x); });
    case Activation::sigmoid:
      return map(y, y, n, [](vf x) { return sigmoid(x); });
    case Activation::softplus:
      return map(y, y, n, [](vf x) { return softplus(x); });
  }
}

}  // namespace dlt::cpu::DLT_ISA

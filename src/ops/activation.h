// SPDX-License-Identifier: Apache-2.0
// Activations whose derivative is a function of their output: y = f(x, alpha), and dx from y and
// dy.
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>

#include "tensor/kernel.h"

namespace dlt::ops {

inline double relu(double x, double) { return x < 0 ? 0.0 : x; }  // NaN stays NaN
inline double relu_grad(double y, double dy, double) { return y > 0 ? dy : 0.0; }

/// alpha >= 0, so that the sign of y is the sign of x.
inline double leaky_relu(double x, double alpha) { return x > 0 ? x : alpha * x; }
inline double leaky_relu_grad(double y, double dy, double alpha) { return y > 0 ? dy : alpha * dy; }

inline double tanh_of(double x, double) { return std::tanh(x); }
inline double tanh_grad(double y, double dy, double) { return dy * (1.0 - y * y); }

inline double sigmoid(double x, double) {
  if (x >= 0) return 1.0 / (1.0 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1.0 + e);
}
inline double sigmoid_grad(double y, double dy, double) { return dy * y * (1.0 - y); }

inline double softplus(double x, double) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}
/// sigmoid(x) = 1 - exp(-y)
inline double softplus_grad(double y, double dy, double) { return dy * -std::expm1(-y); }

struct Activation {
  std::string_view name;
  double (*value)(double x, double alpha);
  double (*grad)(double y, double dy, double alpha);
};

inline double identity(double x, double) { return x; }
inline double identity_grad(double, double dy, double) { return dy; }

inline constexpr Activation kActivations[] = {
    {"leaky_relu", leaky_relu, leaky_relu_grad},
    {"none", identity, identity_grad},
    {"relu", relu, relu_grad},
    {"sigmoid", sigmoid, sigmoid_grad},
    {"softplus", softplus, softplus_grad},
    {"tanh", tanh_of, tanh_grad},
};

/// Null if there is none of that name.
inline const Activation* find_activation(std::string_view name) {
  for (const Activation& activation : kActivations) {
    if (activation.name == name) return &activation;
  }
  return nullptr;
}

// The options that ops with an activation of their own have: activation (none), alpha (0.01).
[[nodiscard]] const Activation& activation_of(std::string_view op, const tensor::Attrs& attrs);
[[nodiscard]] double activation_alpha(const tensor::Attrs& attrs);
void check_activation(std::string_view op, const tensor::Attrs& attrs);

}  // namespace dlt::ops

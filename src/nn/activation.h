// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "autodiff/graph.h"
#include "config/node.h"
#include "tensor/kernel.h"

namespace dlt::nn {

/// An activation function and its options: "none" leaves its input as it is.
struct Activation {
  std::string name = "none";
  tensor::Attrs attrs;  // leaky_relu: alpha; gelu: approximate
};

/// Reads the options of a named activation: leaky_relu {alpha 0.01, from 0 to 1},
/// gelu {approximate none | tanh}, no option for any other.
[[nodiscard]] Activation read_activation_options(const std::string& name,
                                                 config::MapReader& options);

/// Reads an option such as `activation: relu` or `activation: {name: leaky_relu, alpha: 0.2}`;
/// a missing key is the fallback.
[[nodiscard]] Activation read_activation(config::MapReader& options, const std::string& key,
                                         const std::string& fallback = "none");

/// Appends the activation; none and linear append nothing.
[[nodiscard]] autodiff::ValueId apply_activation(autodiff::Graph& graph,
                                                 const Activation& activation, autodiff::ValueId x);

}  // namespace dlt::nn

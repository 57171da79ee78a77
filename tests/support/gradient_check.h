// SPDX-License-Identifier: Apache-2.0
// Gradients by central finite differences, and an executor too simple to be wrong.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "autodiff/graph.h"
#include "tensor/kernel.h"
#include "tensor/tensor.h"

namespace dlt::support {

/// Values of a graph; each has memory of its own.
using Bindings = std::map<autodiff::ValueId, tensor::Tensor>;

/// Runs every node with its host kernel, in build order. bound holds all inputs and parameters;
/// returns them and all results.
[[nodiscard]] Bindings naive_run(const autodiff::Graph& graph, const Bindings& bound,
                                 const tensor::RunContext& context);

/// d(sum over i of seed[i] * target[i]) / d(wrt), all f64, by central differences.
[[nodiscard]] std::vector<double> numeric_gradient(const autodiff::Graph& graph,
                                                   const Bindings& bound,
                                                   const tensor::RunContext& context,
                                                   autodiff::ValueId target, autodiff::ValueId seed,
                                                   autodiff::ValueId wrt);

/// f64 (or f32) normal numbers, a function of (seed, stream, index).
[[nodiscard]] tensor::Tensor random_tensor(const tensor::TensorType& type, std::uint64_t seed,
                                           std::uint64_t stream);

/// The elements of a f32, f64 or i32 tensor as doubles.
[[nodiscard]] std::vector<double> to_doubles(const tensor::Tensor& tensor);

}  // namespace dlt::support

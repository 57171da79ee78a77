// SPDX-License-Identifier: Apache-2.0
// Graphs that the tests of this folder share.
#pragma once

#include <cstdint>
#include <vector>

#include "autodiff/executor.h"
#include "autodiff/graph.h"
#include "support/gradient_check.h"

namespace dlt::autodiff {

/// A forward graph with its loss [batch] and the numbers of its inputs and parameters. The seed of
/// the backward pass is the input "weight" [batch].
struct Case {
  explicit Case(const OpTable& ops) : graph(ops) {}
  ValueId add_input(const std::string& name, tensor::TensorType type, std::uint64_t seed);
  /// The shape by value: it may be that of a value of this very graph, which grows.
  ValueId add_param(const std::string& name, tensor::Shape shape, std::uint64_t seed);
  Graph graph;
  DType dtype = DType::f64;
  support::Bindings bound;
  ValueId loss, weight;
};

/// A random graph of 3 to 25 ops on values [batch, n] that are used once, often or never, with a
/// few random outputs. A function of seed.
[[nodiscard]] Case random_case(const OpTable& ops, std::uint64_t seed);

/// x -> dense relu ... dense -> softmax_cross_entropy with class labels, unfused. sizes: {4, 8, 3}
[[nodiscard]] Case mlp_case(const OpTable& ops, const std::vector<std::int64_t>& sizes,
                            std::int64_t batch, DType dtype = DType::f64);

/// The flat parameter buffer of a program, filled from a case (f64 or f32).
[[nodiscard]] tensor::Tensor flat_params(const Case& test_case, const tensor::FlatLayout& layout);

/// Binds every input of the case.
void bind_inputs(Executor& executor, const Case& test_case);

/// The seed, epoch and sample ids of the tests' runs.
[[nodiscard]] const tensor::RunContext& run_context();

}  // namespace dlt::autodiff

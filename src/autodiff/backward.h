// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "autodiff/graph.h"

namespace dlt::autodiff {

/// Reverse-mode autodiff as a graph transformation: appends the nodes that compute
/// d(sum over i of seed[i] * target[i]) / d(param) for every parameter that target depends on, and
/// marks them with Graph::gradient(). seed has the type of target (the trainer passes the sample
/// weights). A parameter that target does not depend on gets none here: executors write zeros for
/// it. Every gradient gets memory of its own: a `copy` is added where it would be an alias, an
/// input, an output or another parameter's gradient too. errors  Exit::internal if an op on the way
/// has no derivative
void append_backward(Graph& graph, ValueId target, ValueId seed);

/// The same for any values, for tests: returns the gradient of each of `wrt` (invalid if
/// independent).
[[nodiscard]] std::vector<ValueId> gradients_of(Graph& graph, ValueId target, ValueId seed,
                                                std::span<const ValueId> wrt);

}  // namespace dlt::autodiff

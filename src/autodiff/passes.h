// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "autodiff/graph.h"

namespace dlt::autodiff {

/// Forward-graph fusions, to be run before append_backward. Each returns how many places it
/// changed; a pattern whose inner value has another user or is an output is left alone.
/// log(softmax(x)) -> log_softmax(x); nll(log_softmax(x)) -> softmax_cross_entropy(x);
/// bce_loss(sigmoid(x)) -> bce_with_logits_loss(x)
int fuse_losses(Graph& graph);
/// bias_add(matmul(x, w), b) -> linear; activation(linear) -> linear with activation, for those
/// whose derivative is a function of their output (relu, leaky_relu, tanh, sigmoid, softplus)
int fuse_bias_activation(Graph& graph);

/// Nodes that no output or gradient needs are dropped.
int remove_dead_nodes(Graph& graph);

/// An execution order of all nodes that finishes parameter gradients as early as possible: among
/// the nodes that are ready, those on the way to the earliest-reachable gradient come first, and a
/// parameter's gradient is computed before the chain goes on to earlier layers.
[[nodiscard]] std::vector<std::int32_t> schedule(const Graph& graph);

}  // namespace dlt::autodiff

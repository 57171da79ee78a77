// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "autodiff/graph.h"

namespace dlt::autodiff {

/// Forward-graph fusions, to be run before append_backward, fuse_losses first. Each returns how
/// many places it changed. The outer node is rewritten and keeps its output; inner nodes that
/// thereby lose their last user stay for remove_dead_nodes.

/// log(softmax(x)) -> log_softmax(x); nll(log_softmax(x)) -> softmax_cross_entropy(x);
/// bce_loss(sigmoid(x)) -> bce_with_logits_loss(x). For the sake of stable numbers this is done
/// even where the inner value has another user or is an output (a model that ends in softmax).
int fuse_losses(Graph& graph);

/// bias_add(matmul(x, w), b) -> linear; activation(linear) -> linear with activation, for those
/// whose derivative is a function of their output (relu, leaky_relu, tanh, sigmoid, softplus). A
/// pattern whose inner value has another user or is an output is left alone.
int fuse_bias_activation(Graph& graph);

/// relu(batch_norm(x)) -> batch_norm with activation, in training and inference, where nothing else
/// reads the value between; layer_norm(add(a, b)) -> add_layer_norm, which keeps the sum for
/// others.
int fuse_norm_activation(Graph& graph);

/// Gives every product (OpDef::product) the attribute precision: f32, bf16 or bf16_emulated. To be
/// run after append_backward, so that gradients are computed alike; returns how many there are.
int set_precision(Graph& graph, const std::string& precision);

/// Nodes that no output or gradient needs are dropped; returns how many.
int remove_dead_nodes(Graph& graph);

/// Drops the nodes from first_node on that none of `wanted` needs; returns how many.
int remove_unneeded_nodes(Graph& graph, std::int32_t first_node, std::span<const ValueId> wanted);

/// An execution order of all nodes that finishes parameter gradients as early as possible: among
/// the nodes that are ready, those on the way to the earliest-reachable gradient come first, and a
/// parameter's gradient is computed before the chain goes on to earlier layers.
[[nodiscard]] std::vector<std::int32_t> schedule(const Graph& graph);

}  // namespace dlt::autodiff

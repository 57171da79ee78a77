// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "tensor/backend.h"

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

/// add(batch_norm(x), past) -> batch_norm with past, and relu(batch_norm(x)) or relu(batch_norm(x)
/// + past) -> batch_norm with activation, in training and inference, where nothing else reads the
/// values between; layer_norm(add(a, b)) -> add_layer_norm, which keeps the sum for
/// others.
int fuse_norm_activation(Graph& graph);

/// Gives every product (OpDef::product) the attribute precision (docs/ops.md). To be run after
/// append_backward, so that gradients are computed alike; returns how many there are.
int set_precision(Graph& graph, const std::string& precision);

/// Takes out nodes that give back what they get: scale by 1, dropout of rate 0, a reshape to the
/// same shape, padding and cropping by nothing (or one after the other), concat of one, the slice
/// of all, windows and enlargements of 1, neg of neg, relu of relu, abs of abs, and + 0, - 0, * 1
/// and / 1 with a constant. A reshape of a reshape becomes one. Outputs and gradients stay. Returns
/// how many nodes nobody reads any more. Same bits, save that -0 + 0 and -0 * 1 + 0 stay -0.
int simplify(Graph& graph);

/// What is the same in every run (`fill`, and whatever is computed from such alone by ops that are
/// neither random nor sums over leaves) becomes a constant, computed once by the device's kernel.
/// Returns how many nodes. Outputs and gradients stay.
int fold_constants(Graph& graph, tensor::Backend& backend);

/// Chains, trees and siblings of element-wise nodes (OpDef::pointwise) of one pass, forward or
/// backward, become one `fused_pointwise` each: what they read and write goes through memory once.
/// Reshapes between them are looked through. A forward result that the backward pass reads in such
/// nodes only is computed again there, if its operands are kept anyhow. To be run behind
/// append_backward and recompute_activations; returns how many nodes it made. Same bits.
int fuse_pointwise(Graph& graph);

/// All passes that a finished graph goes through before it is ordered and planned.
void optimize(Graph& graph, tensor::Backend& backend);

/// Nodes that no output or gradient needs are dropped; returns how many.
int remove_dead_nodes(Graph& graph);

/// Drops the nodes from first_node on that none of `wanted` needs; returns how many.
int remove_unneeded_nodes(Graph& graph, std::int32_t first_node, std::span<const ValueId> wanted);

/// Puts producers in front of their readers, and else nodes by `places`, one number for each.
/// errors  Exit::internal if nodes wait for each other
void sort_nodes(Graph& graph, const std::vector<std::int32_t>& places);

/// An execution order of all nodes that finishes parameter gradients as early as possible: among
/// the nodes that are ready, those on the way to the earliest-reachable gradient come first, and a
/// parameter's gradient is computed before the chain goes on to earlier layers.
[[nodiscard]] std::vector<std::int32_t> schedule(const Graph& graph);

}  // namespace dlt::autodiff

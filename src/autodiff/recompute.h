// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "autodiff/graph.h"

namespace dlt::autodiff {

/// Trades work for memory in a training graph (after append_backward): the forward pass is cut into
/// `segments` stretches, and of all but the last only what crosses a cut stays until the backward
/// pass, which computes the rest again where it needs it. Results keep their bits: the same kernels
/// run on the same numbers (dropout's numbers are a function of sample and layer). Returns the
/// number of nodes that are computed twice. segments below 2 change nothing.
/// source  Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174
int recompute_activations(Graph& graph, int segments);

}  // namespace dlt::autodiff

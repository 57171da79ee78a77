// SPDX-License-Identifier: Apache-2.0
// What fusion passes look for in a graph.
#pragma once

#include <string_view>

#include "autodiff/graph.h"

namespace dlt::autodiff {

/// The node that makes a value if it is of that op, else null.
[[nodiscard]] const Node* made_by(const Graph& graph, ValueId id, std::string_view op);

/// How many inputs of nodes, outputs and gradients of the graph a value is.
[[nodiscard]] int num_users(const Graph& graph, ValueId id);

}  // namespace dlt::autodiff

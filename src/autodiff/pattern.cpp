// SPDX-License-Identifier: Apache-2.0
#include "autodiff/pattern.h"

#include <algorithm>
#include <cstddef>

namespace dlt::autodiff {

const Node* made_by(const Graph& graph, ValueId id, std::string_view op) {
  const std::int32_t producer = graph.value(id).producer;
  if (producer < 0) return nullptr;
  const Node& node = graph.nodes()[static_cast<std::size_t>(producer)];
  return node.op->name == op ? &node : nullptr;
}

int num_users(const Graph& graph, ValueId id) {
  std::ptrdiff_t users = 0;
  for (const Node& node : graph.nodes()) {
    users += std::count(node.inputs.begin(), node.inputs.end(), id);
  }
  for (const auto& output : graph.outputs()) users += output.second == id ? 1 : 0;
  for (const auto& entry : graph.gradients()) users += entry.second == id ? 1 : 0;
  return static_cast<int>(users);
}

}  // namespace dlt::autodiff

// SPDX-License-Identifier: Apache-2.0
// The inner node of a pattern takes over the outer one's outputs where it stands, since other nodes
// may read its further outputs before the outer node's place.
#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "autodiff/passes.h"
#include "autodiff/pattern.h"
#include "base/error.h"

namespace dlt::autodiff {
namespace {

Node& node_at(Graph& graph, std::int32_t index) {
  return graph.mutable_nodes()[static_cast<std::size_t>(index)];
}

Value& value_at(Graph& graph, ValueId id) {
  return graph.mutable_values()[static_cast<std::size_t>(id.index)];
}

/// relu(batch_norm(x)) -> batch_norm with activation: the two nodes exchange their first outputs,
/// and the relu, now of what nobody else reads, is dead.
bool fuse_relu(Graph& graph, std::int32_t index) {
  Node& relu = node_at(graph, index);
  if (relu.op->name != "relu") return false;
  const ValueId normal = relu.inputs[0];
  const bool fits = made_by(graph, normal, "batch_norm") != nullptr ||
                    made_by(graph, normal, "batch_norm_inference") != nullptr;
  if (!fits || num_users(graph, normal) != 1) return false;
  const std::int32_t producer = graph.value(normal).producer;
  Node& norm = node_at(graph, producer);
  if (norm.outputs[0] != normal || norm.attrs.word("activation", "none") != "none") return false;
  const ValueId y = relu.outputs[0];
  norm.attrs.set("activation", std::string("relu"));
  norm.outputs[0] = y;
  value_at(graph, y).producer = producer;
  relu.inputs[0] = y;
  relu.outputs[0] = normal;
  value_at(graph, normal).producer = index;
  return true;
}

/// layer_norm(add(a, b)) -> add_layer_norm in the place of add. The layer_norm, on values of its
/// own, is dead.
bool fuse_add(Graph& graph, std::int32_t index) {
  if (node_at(graph, index).op->name != "layer_norm") return false;
  const Node norm = node_at(graph, index);
  if (made_by(graph, norm.inputs[0], "add") == nullptr) return false;
  const std::int32_t producer = graph.value(norm.inputs[0]).producer;
  const bool ready = std::all_of(norm.inputs.begin() + 1, norm.inputs.end(),
                                 [&](ValueId id) { return graph.value(id).producer < producer; });
  const OpDef* fused = graph.ops().find("add_layer_norm");
  if (!ready || fused == nullptr) return false;
  for (ValueId& id : node_at(graph, index).outputs) {
    const tensor::TensorType type = graph.value(id).type;
    id = {static_cast<std::int32_t>(graph.values().size())};
    graph.mutable_values().push_back({type, ValueKind::result, "", index});
  }
  Node& add = node_at(graph, producer);
  add.op = fused;
  add.attrs = norm.attrs;
  add.inputs.insert(add.inputs.end(), norm.inputs.begin() + 1, norm.inputs.end());
  for (const ValueId id : norm.outputs) {
    add.outputs.push_back(id);
    value_at(graph, id).producer = producer;
  }
  return true;
}

}  // namespace

int fuse_norm_activation(Graph& graph) {
  int changed = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    if (fuse_relu(graph, index) || fuse_add(graph, index)) ++changed;
  }
  return changed;
}

}  // namespace dlt::autodiff

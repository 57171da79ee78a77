// SPDX-License-Identifier: Apache-2.0
// The inner node of a pattern takes over the outer one's outputs where it stands, since other nodes
// may read its further outputs before the outer node's place.
#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

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

/// Whether what a batch_norm makes beside its result goes to batch_norm_statistics alone.
bool only_statistics_read(const Graph& graph, const Node& norm) {
  return std::all_of(graph.nodes().begin(), graph.nodes().end(), [&](const Node& reader) {
    return reader.op->name == "batch_norm_statistics" ||
           std::none_of(norm.outputs.begin() + 1, norm.outputs.end(), [&](ValueId id) {
             return std::count(reader.inputs.begin(), reader.inputs.end(), id) > 0;
           });
  });
}

/// The operand of an add that a batch_norm makes for it alone: 0, 1, or -1 if none. The batch_norm
/// then moves to the place of the add, so what it tells beside may only go to running statistics.
int normal_operand(const Graph& graph, const Node& add) {
  for (int k = 0; k < 2; ++k) {
    const ValueId normal = add.inputs[static_cast<std::size_t>(k)];
    const Node* norm = made_by(graph, normal, "batch_norm");
    const std::size_t plain = norm != nullptr ? 4 : 5;
    if (norm == nullptr) norm = made_by(graph, normal, "batch_norm_inference");
    const bool fits =
        norm != nullptr && norm->inputs.size() == plain && norm->outputs[0] == normal &&
        norm->attrs.word("activation", "none") == "none" && num_users(graph, normal) == 1;
    if (fits && only_statistics_read(graph, *norm)) return k;
  }
  return -1;
}

/// add(batch_norm(x), past) -> batch_norm with past, in the place of add.
bool fuse_past(Graph& graph, std::int32_t index) {
  if (node_at(graph, index).op->name != "add") return false;
  const Node add = node_at(graph, index);
  const int operand = normal_operand(graph, add);
  if (operand < 0) return false;
  const ValueId normal = add.inputs[static_cast<std::size_t>(operand)];
  const std::int32_t producer = graph.value(normal).producer;
  Node norm = node_at(graph, producer);
  norm.inputs.push_back(add.inputs[static_cast<std::size_t>(1 - operand)]);
  norm.outputs[0] = add.outputs[0];
  node_at(graph, index) = std::move(norm);
  value_at(graph, normal).producer = -1;
  std::vector<Node>& nodes = graph.mutable_nodes();
  nodes.erase(nodes.begin() + producer);
  std::vector<std::int32_t> places;
  for (std::size_t i = 0; i < nodes.size(); ++i) places.push_back(static_cast<std::int32_t>(i));
  sort_nodes(graph, places);
  return true;
}

/// The first such place; nodes move, so that the next is looked for from the start.
bool fuse_some_past(Graph& graph) {
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (fuse_past(graph, static_cast<std::int32_t>(i))) return true;
  }
  return false;
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
  while (fuse_some_past(graph)) ++changed;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    if (fuse_relu(graph, index) || fuse_add(graph, index)) ++changed;
  }
  return changed;
}

}  // namespace dlt::autodiff

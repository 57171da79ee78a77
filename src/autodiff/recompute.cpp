// SPDX-License-Identifier: Apache-2.0
#include "autodiff/recompute.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace dlt::autodiff {
namespace {

/// What the forward pass leaves for whom. Positions count forward nodes only.
struct ForwardPass {
  std::vector<std::size_t> nodes;            // node indices
  std::vector<std::int64_t> stored_bytes;    // of each: outputs that the backward pass reads
  std::vector<std::int64_t> crossing_bytes;  // behind each: what later forward nodes read
  std::vector<std::size_t> last_reader;      // of each: position of the last forward reader
};

ForwardPass look_at(const Graph& graph) {
  ForwardPass pass;
  std::vector<std::size_t> position(graph.nodes().size(), 0);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (graph.nodes()[i].backward) continue;
    position[i] = pass.nodes.size();
    pass.nodes.push_back(i);
    pass.last_reader.push_back(position[i]);
  }
  std::vector<bool> read_backward(graph.values().size(), false);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId id : graph.nodes()[i].inputs) {
      if (graph.nodes()[i].backward) read_backward[at(id)] = true;
      const std::int32_t producer = graph.value(id).producer;
      if (producer < 0 || graph.nodes()[i].backward) continue;
      std::size_t& last = pass.last_reader[position[static_cast<std::size_t>(producer)]];
      last = std::max(last, position[i]);
    }
  }
  pass.crossing_bytes.assign(pass.nodes.size(), 0);
  for (std::size_t p = 0; p < pass.nodes.size(); ++p) {
    std::int64_t stored = 0, all = 0;
    for (const ValueId id : graph.nodes()[pass.nodes[p]].outputs) {
      all += graph.value(id).type.bytes();
      if (read_backward[at(id)]) stored += graph.value(id).type.bytes();
    }
    pass.stored_bytes.push_back(stored);
    for (std::size_t q = p; q < pass.last_reader[p]; ++q) pass.crossing_bytes[q] += all;
  }
  return pass;
}

/// Cuts behind these positions: near equal shares of the stored bytes, where least crosses.
std::vector<std::size_t> choose_cuts(const ForwardPass& pass, int segments) {
  std::int64_t total = 0;
  for (const std::int64_t bytes : pass.stored_bytes) total += bytes;
  std::vector<std::size_t> cuts;
  const double share = static_cast<double>(total) / segments;
  double sum = 0;
  int next = 1;
  bool open = false;
  std::size_t best = 0;
  for (std::size_t p = 0; p < pass.nodes.size() && next < segments; ++p) {
    sum += static_cast<double>(pass.stored_bytes[p]);
    if (sum < (next - 0.5) * share) continue;
    if (!open || pass.crossing_bytes[p] < pass.crossing_bytes[best]) best = p;
    open = true;
    if (sum >= (next + 0.5) * share || p + 1 == pass.nodes.size()) {
      cuts.push_back(best);
      open = false;
      ++next;
    }
  }
  return cuts;
}

/// Appends nodes to a new list; copies those it is asked for in front of their first reader.
class Copier {
 public:
  Copier(Graph& graph, std::vector<bool> again)
      : graph_(&graph), old_(std::move(graph.mutable_nodes())), again_(std::move(again)) {}

  int run() {
    for (std::size_t i = 0; i < old_.size(); ++i) {
      Node node = old_[i];
      if (node.backward) {
        for (ValueId& id : node.inputs) id = again(id);
      }
      nodes_.push_back(std::move(node));
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId id : nodes_[i].outputs) {
        graph_->mutable_values()[at(id)].producer = static_cast<std::int32_t>(i);
      }
    }
    graph_->mutable_nodes() = std::move(nodes_);
    return num_copies_;
  }

 private:
  /// The value as the backward pass gets it.
  ValueId again(ValueId id) {
    const std::int32_t producer = graph_->value(id).producer;
    if (producer < 0 || !again_[static_cast<std::size_t>(producer)]) return id;
    const auto known = copies_.find(id.index);
    if (known != copies_.end()) return known->second;
    Node copy = old_[static_cast<std::size_t>(producer)];
    copy.backward = true;
    for (ValueId& input : copy.inputs) input = again(input);
    for (ValueId& output : copy.outputs) {
      const ValueId fresh{static_cast<std::int32_t>(graph_->values().size())};
      Value value = graph_->value(output);
      value.producer = -1;  // set when the list is complete
      graph_->mutable_values().push_back(std::move(value));
      copies_.emplace(output.index, fresh);
      output = fresh;
    }
    nodes_.push_back(std::move(copy));
    ++num_copies_;
    return copies_.at(id.index);
  }

  Graph* graph_;
  std::vector<Node> old_;
  std::vector<bool> again_;
  std::vector<Node> nodes_;
  std::unordered_map<std::int32_t, ValueId> copies_;
  int num_copies_ = 0;
};

}  // namespace

int recompute_activations(Graph& graph, int segments) {
  if (segments < 2) return 0;
  const ForwardPass pass = look_at(graph);
  const std::vector<std::size_t> cuts = choose_cuts(pass, segments);
  if (cuts.empty()) return 0;
  std::vector<bool> again(graph.nodes().size(), false);
  std::size_t next = 0;
  for (std::size_t p = 0; p < pass.nodes.size() && next < cuts.size(); ++p) {
    // What a later stretch reads is there anyhow.
    again[pass.nodes[p]] = pass.last_reader[p] <= cuts[next];
    if (p == cuts[next]) ++next;
  }
  // A copy of an alias needs its memory: where the alias stays, so does what it stands for.
  for (std::size_t p = pass.nodes.size(); p-- > 0;) {
    const Node& node = graph.nodes()[pass.nodes[p]];
    if (!node.op->alias || again[pass.nodes[p]]) continue;
    const std::int32_t producer = graph.value(node.inputs[0]).producer;
    if (producer >= 0) again[static_cast<std::size_t>(producer)] = false;
  }
  return Copier(graph, std::move(again)).run();
}

}  // namespace dlt::autodiff

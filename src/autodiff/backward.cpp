// SPDX-License-Identifier: Apache-2.0
#include "autodiff/backward.h"

#include <algorithm>
#include <set>
#include <utility>

#include "autodiff/passes.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::autodiff {
namespace {

/// The graph's scope and backward flag are put back when the backward nodes are there.
class BackwardMode {
 public:
  explicit BackwardMode(Graph& graph)
      : graph_(graph), scope_(graph.scope()), backward_(graph.backward()) {
    graph_.set_backward(true);
  }
  ~BackwardMode() {
    graph_.set_scope(std::move(scope_));
    graph_.set_backward(backward_);
  }
  BackwardMode(const BackwardMode&) = delete;
  BackwardMode& operator=(const BackwardMode&) = delete;

 private:
  Graph& graph_;
  std::string scope_;
  bool backward_;
};

/// Which values depend on any of wrt.
std::vector<bool> dependents(const Graph& graph, std::span<const ValueId> wrt) {
  std::vector<bool> depends(graph.values().size(), false);
  for (const ValueId id : wrt) depends[at(id)] = true;
  for (const Node& node : graph.nodes()) {
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [&](ValueId id) { return depends[at(id)]; });
    if (!any) continue;
    for (const ValueId id : node.outputs) depends[at(id)] = true;
  }
  return depends;
}

/// Gradients of the values of one graph, one sum for each, added in the order in which they come.
class Accumulator {
 public:
  explicit Accumulator(Graph& graph) : graph_(graph), sums_(graph.values().size()) {}
  void add(ValueId value, ValueId gradient) {
    DLT_CHECK(graph_.value(value).type == graph_.value(gradient).type,
              cat(graph_.value(value).type.text(), " has a gradient ",
                  graph_.value(gradient).type.text()));
    ValueId& sum = sums_[at(value)];
    sum = sum.valid() ? graph_.add_one("add", {sum, gradient}) : gradient;
  }
  [[nodiscard]] ValueId of(ValueId value) const { return sums_[at(value)]; }

 private:
  Graph& graph_;
  std::vector<ValueId> sums_;
};

void differentiate(Graph& graph, std::size_t node_index, const std::vector<bool>& depends,
                   Accumulator& sums) {
  const Node node = graph.nodes()[node_index];  // a copy: the graph grows meanwhile
  std::vector<ValueId> output_grads;
  for (const ValueId id : node.outputs) output_grads.push_back(sums.of(id));
  const bool reached =
      std::any_of(output_grads.begin(), output_grads.end(), [](ValueId id) { return id.valid(); });
  const bool wanted = std::any_of(node.inputs.begin(), node.inputs.end(),
                                  [&](ValueId id) { return depends[at(id)]; });
  if (!reached || !wanted) return;
  DLT_CHECK(node.op->vjp != nullptr,
            cat(node.scope, node.scope.empty() ? "" : ": ", node.op->name, " has no derivative"));
  graph.set_scope(node.scope);
  const std::vector<ValueId> grads = node.op->vjp(graph, node, output_grads);
  DLT_CHECK(grads.size() == node.inputs.size(), node.op->name);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (grads[i].valid() && depends[at(node.inputs[i])]) sums.add(node.inputs[i], grads[i]);
  }
}

/// Whether a parameter's gradient may be written straight into the flat gradient buffer.
bool has_own_memory(const Graph& graph, ValueId gradient, const std::set<ValueId>& taken) {
  const Value& value = graph.value(gradient);
  if (value.kind != ValueKind::result || taken.count(gradient) > 0) return false;
  if (graph.nodes()[static_cast<std::size_t>(value.producer)].op->alias) return false;
  return std::none_of(graph.outputs().begin(), graph.outputs().end(),
                      [&](const auto& output) { return output.second == gradient; });
}

}  // namespace

std::vector<ValueId> gradients_of(Graph& graph, ValueId target, ValueId seed,
                                  std::span<const ValueId> wrt) {
  const BackwardMode mode(graph);
  const std::vector<bool> depends = dependents(graph, wrt);
  const std::size_t num_forward = graph.nodes().size();
  Accumulator sums(graph);
  sums.add(target, seed);
  for (std::size_t i = num_forward; i-- > 0;) differentiate(graph, i, depends, sums);
  std::vector<ValueId> gradients, wanted;
  for (const ValueId id : wrt) {
    gradients.push_back(sums.of(id));
    if (gradients.back().valid()) wanted.push_back(gradients.back());
  }
  // Derivatives speak of all inputs; those of graph inputs and labels nobody asked for.
  (void)remove_unneeded_nodes(graph, static_cast<std::int32_t>(num_forward), wanted);
  return gradients;
}

void append_backward(Graph& graph, ValueId target, ValueId seed) {
  const std::vector<ValueId> params = graph.params();
  const std::vector<ValueId> gradients = gradients_of(graph, target, seed, params);
  const BackwardMode mode(graph);
  std::set<ValueId> taken;
  for (std::size_t i = 0; i < params.size(); ++i) {
    ValueId gradient = gradients[i];
    if (!gradient.valid()) continue;
    if (!has_own_memory(graph, gradient, taken)) gradient = graph.add_one("copy", {gradient});
    taken.insert(gradient);
    graph.gradient(params[i], gradient);
  }
}

}  // namespace dlt::autodiff

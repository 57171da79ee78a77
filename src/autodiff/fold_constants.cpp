// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "autodiff/node_kernel.h"
#include "autodiff/passes.h"

namespace dlt::autodiff {
namespace {

/// Outputs and gradients stay results: their memory is promised elsewhere.
std::vector<bool> wanted_values(const Graph& graph) {
  std::vector<bool> wanted(graph.values().size(), false);
  for (const auto& output : graph.outputs()) {
    wanted[static_cast<std::size_t>(output.second.index)] = true;
  }
  for (const auto& entry : graph.gradients()) {
    wanted[static_cast<std::size_t>(entry.second.index)] = true;
  }
  return wanted;
}

bool is_constant(const Graph& graph, const Node& node, const std::vector<bool>& wanted) {
  if (node.op->random || node.op->sync) return false;
  const bool free = std::none_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    return wanted[static_cast<std::size_t>(id.index)];
  });
  return free && std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
           return graph.value(id).kind == ValueKind::constant;
         });
}

/// What the node makes, by the kernel that would run, or the host's where the device's memory is
/// its own.
std::vector<tensor::Tensor> computed(const Graph& graph, const Node& node,
                                     tensor::Backend& backend) {
  std::vector<tensor::Tensor> results;
  if (node.op->alias) {
    const tensor::Tensor& source = graph.constant(node.inputs[0]);
    const tensor::TensorType type = graph.value(node.outputs[0]).type;
    results.emplace_back(type, tensor::Storage::borrow(source.bytes(), type.bytes()), 0);
    return results;
  }
  std::vector<tensor::View> inputs, outputs;
  for (const ValueId id : node.inputs) {
    inputs.push_back({graph.constant(id).bytes(), graph.value(id).type});
  }
  for (const tensor::TensorType& type : types_of(graph, node.outputs)) {
    results.emplace_back(type, tensor::Storage::allocate(type.bytes()), 0);
    outputs.push_back({results.back().bytes(), type});
  }
  const auto kernel = backend.in_host_memory() ? make_node_kernel(graph, node, backend)
                                               : make_host_kernel(graph, node);
  const tensor::Storage scratch = tensor::Storage::allocate(kernel->scratch_bytes());
  const tensor::RunContext context;
  kernel->run({.inputs = inputs, .outputs = outputs, .scratch = scratch.data(), .run = context});
  return results;
}

}  // namespace

int fold_constants(Graph& graph, tensor::Backend& backend) {
  const std::vector<bool> wanted = wanted_values(graph);
  int changed = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!is_constant(graph, node, wanted)) continue;
    std::vector<tensor::Tensor> results = computed(graph, node, backend);
    for (std::size_t k = 0; k < results.size(); ++k) {
      graph.set_constant(node.outputs[k], std::move(results[k]));
    }
    ++changed;
  }
  return changed;
}

}  // namespace dlt::autodiff

// SPDX-License-Identifier: Apache-2.0
#include "autodiff/node_kernel.h"

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "base/text.h"

namespace dlt::autodiff {

std::vector<tensor::TensorType> types_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<tensor::TensorType> types;
  for (const ValueId id : ids) types.push_back(graph.value(id).type);
  return types;
}

std::unique_ptr<tensor::Kernel> make_node_kernel(const Graph& graph, const Node& node,
                                                 const tensor::Backend& backend,
                                                 std::set<std::string>* fallbacks) {
  const std::vector<tensor::TensorType> inputs = types_of(graph, node.inputs);
  const std::vector<tensor::TensorType> outputs = types_of(graph, node.outputs);
  std::uint32_t params = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (graph.value(node.inputs[i]).kind == ValueKind::param) params |= 1U << i;
  }
  const tensor::KernelSpec spec{inputs, outputs, node.attrs, params};
  const tensor::KernelFactory device = backend.find(node.op->name);
  std::unique_ptr<tensor::Kernel> kernel = device != nullptr ? device(spec) : nullptr;
  if (kernel != nullptr) return kernel;
  if (fallbacks != nullptr) fallbacks->emplace(node.op->name);
  if (node.op->host != nullptr) kernel = node.op->host(spec);
  if (kernel == nullptr) {
    std::vector<std::string> words;
    for (const tensor::TensorType& type : inputs) words.push_back(type.text());
    throw Error(Exit::internal, cat(node.scope, node.scope.empty() ? "" : ": ", node.op->name,
                                    ": no kernel for ", join(words)));
  }
  return kernel;
}

}  // namespace dlt::autodiff

// SPDX-License-Identifier: Apache-2.0
#include "autodiff/node_kernel.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "tensor/host_copies.h"

namespace dlt::autodiff {
namespace {

/// What kernels are made from.
struct NodeTypes {
  NodeTypes(const Graph& graph, const Node& node)
      : inputs(types_of(graph, node.inputs)), outputs(types_of(graph, node.outputs)) {}
  std::vector<tensor::TensorType> inputs, outputs;
};

/// A host kernel for memory of a device: waits for the device, copies, runs, copies back.
class BetweenCopies final : public tensor::Kernel {
 public:
  explicit BetweenCopies(std::unique_ptr<tensor::Kernel> host) : host_(std::move(host)) {}

  void run(const tensor::KernelArgs& args) const override {
    tensor::Queue& queue = *args.run.queue;
    const tensor::HostCopies inputs(args.inputs), outputs(args.outputs);
    inputs.fetch(queue);
    queue.wait();
    const tensor::Storage scratch = tensor::Storage::allocate(host_->scratch_bytes());
    host_->run({.inputs = inputs.views(),
                .outputs = outputs.views(),
                .scratch = scratch.data(),
                .run = args.run});
    outputs.send(queue);
    queue.wait();
  }

 private:
  std::unique_ptr<tensor::Kernel> host_;
};

}  // namespace

std::vector<tensor::TensorType> types_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<tensor::TensorType> types;
  for (const ValueId id : ids) types.push_back(graph.value(id).type);
  return types;
}

std::unique_ptr<tensor::Kernel> make_host_kernel(const Graph& graph, const Node& node) {
  const NodeTypes types(graph, node);
  std::unique_ptr<tensor::Kernel> kernel;
  if (node.op->host != nullptr) {
    kernel = node.op->host({.inputs = types.inputs, .outputs = types.outputs, .attrs = node.attrs});
  }
  if (kernel != nullptr) return kernel;
  std::vector<std::string> words;
  for (const tensor::TensorType& type : types.inputs) words.push_back(type.text());
  throw Error(Exit::internal, cat(node.scope, node.scope.empty() ? "" : ": ", node.op->name,
                                  ": no kernel for ", join(words)));
}

std::unique_ptr<tensor::Kernel> make_node_kernel(const Graph& graph, const Node& node,
                                                 const tensor::Backend& backend,
                                                 std::set<std::string>* fallbacks) {
  const NodeTypes types(graph, node);
  std::uint32_t params = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (graph.value(node.inputs[i]).kind == ValueKind::param) params |= 1U << i;
  }
  if (const tensor::KernelFactory device = backend.find(node.op->name)) {
    auto kernel = device({types.inputs, types.outputs, node.attrs, params});
    if (kernel != nullptr) return kernel;
  }
  if (fallbacks != nullptr) fallbacks->emplace(node.op->name);
  auto kernel = make_host_kernel(graph, node);
  if (backend.in_host_memory()) return kernel;
  return std::make_unique<BetweenCopies>(std::move(kernel));
}

}  // namespace dlt::autodiff

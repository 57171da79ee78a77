// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "autodiff/passes.h"
#include "autodiff/pattern.h"
#include "base/error.h"

namespace dlt::autodiff {
namespace {

/// Turns node `index` into another op that makes the same first output. Further outputs are new
/// values.
void rewrite(Graph& graph, std::size_t index, std::string_view op, std::vector<ValueId> inputs,
             tensor::Attrs attrs) {
  const OpDef* def = graph.ops().find(op);
  DLT_CHECK(def != nullptr, op);
  std::vector<tensor::TensorType> types;
  for (const ValueId id : inputs) types.push_back(graph.value(id).type);
  const std::vector<tensor::TensorType> outputs = def->infer(types, attrs);
  Node& node = graph.mutable_nodes()[index];
  DLT_CHECK(node.outputs.size() == 1 && outputs[0] == graph.value(node.outputs[0]).type, op);
  node.op = def;
  node.inputs = std::move(inputs);
  node.attrs = std::move(attrs);
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    node.outputs.push_back({static_cast<std::int32_t>(graph.values().size())});
    graph.mutable_values().push_back(
        {outputs[i], ValueKind::result, "", static_cast<std::int32_t>(index)});
  }
}

struct LossPattern {
  std::string_view outer, inner, fused;
};
constexpr std::array<LossPattern, 3> kLossPatterns{{
    {"log", "softmax", "log_softmax"},
    {"nll", "log_softmax", "softmax_cross_entropy"},
    {"bce_loss", "sigmoid", "bce_with_logits_loss"},
}};

constexpr std::array<std::string_view, 5> kLinearActivations{"leaky_relu", "relu", "sigmoid",
                                                             "softplus", "tanh"};

/// A product that can take a bias: of matrices neither of which is transposed, or a convolution.
const Node* product_before(const Graph& graph, ValueId id) {
  const Node* product = made_by(graph, id, "matmul");
  if (product != nullptr) {
    const bool plain =
        product->attrs.integer("trans_a") == 0 && product->attrs.integer("trans_b") == 0;
    return plain ? product : nullptr;
  }
  product = made_by(graph, id, "conv2d");
  const bool free = product != nullptr && product->inputs.size() == 2 &&
                    product->attrs.word("activation", "none") == "none";
  return free ? product : nullptr;
}

bool fuse_bias(Graph& graph, std::size_t index) {
  const Node& node = graph.nodes()[index];
  if (node.op->name != "bias_add") return false;
  const Node* product = product_before(graph, node.inputs[0]);
  if (product == nullptr || num_users(graph, node.inputs[0]) != 1) return false;
  const std::string_view fused = product->op->name == "matmul" ? "linear" : "conv2d";
  tensor::Attrs attrs = fused == "conv2d" ? product->attrs : tensor::Attrs{};
  rewrite(graph, index, fused, {product->inputs[0], product->inputs[1], node.inputs[1]},
          std::move(attrs));
  return true;
}

bool fuse_activation(Graph& graph, std::size_t index) {
  const Node& node = graph.nodes()[index];
  const bool fits =
      std::count(kLinearActivations.begin(), kLinearActivations.end(), node.op->name) > 0;
  if (!fits || num_users(graph, node.inputs[0]) != 1) return false;
  const Node* before = made_by(graph, node.inputs[0], "linear");
  if (before == nullptr) before = made_by(graph, node.inputs[0], "conv2d");
  if (before == nullptr || before->attrs.word("activation", "none") != "none") return false;
  tensor::Attrs attrs = before->attrs;
  attrs.set("activation", std::string(node.op->name));
  if (node.op->name == "leaky_relu") attrs.set("alpha", node.attrs.number("alpha", 0.01));
  rewrite(graph, index, before->op->name, before->inputs, std::move(attrs));
  return true;
}

}  // namespace

int fuse_losses(Graph& graph) {
  int changed = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const LossPattern& pattern : kLossPatterns) {
      const Node& node = graph.nodes()[i];
      if (node.op->name != pattern.outer) continue;
      const Node* inner = made_by(graph, node.inputs[0], pattern.inner);
      if (inner == nullptr) continue;
      std::vector<ValueId> inputs = node.inputs;
      inputs[0] = inner->inputs[0];
      rewrite(graph, i, pattern.fused, std::move(inputs), tensor::Attrs(node.attrs));
      ++changed;
    }
  }
  return changed;
}

int fuse_bias_activation(Graph& graph) {
  int changed = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (fuse_bias(graph, i) || fuse_activation(graph, i)) ++changed;
  }
  return changed;
}

}  // namespace dlt::autodiff

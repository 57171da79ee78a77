// SPDX-License-Identifier: Apache-2.0
#include "onnx/export.h"

#include <map>
#include <vector>

#include "base/error.h"
#include "onnx/builder.h"
#include "onnx/proto.h"

namespace dlt::onnx {
namespace {

std::map<std::string_view, RuleFunction> all_rules() {
  std::map<std::string_view, RuleFunction> out;
  for (const auto rules :
       {pointwise_rules(), image_rules(), norm_rules(), sequence_rules(), recurrent_rules()}) {
    for (const Rule& rule : rules) out.emplace(rule.op, rule.write);
  }
  return out;
}

/// Which nodes the outputs need: passes leave nodes behind that nobody reads.
std::vector<bool> needed_nodes(const Builder& builder) {
  const autodiff::Graph& graph = builder.graph();
  std::vector<bool> needed(graph.nodes().size(), false);
  const auto need = [&](autodiff::ValueId id) {
    const std::int32_t index = graph.value(id).producer;
    if (index >= 0) needed[static_cast<std::size_t>(index)] = true;
  };
  for (const auto& [name, id] : graph.outputs()) need(id);
  for (std::size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const autodiff::ValueId id : values_read(builder, graph.nodes()[i])) need(id);
  }
  return needed;
}

}  // namespace

std::string export_model(const PredictionGraphs& graphs, const tensor::StateDict& params,
                         const ModelLabels& labels) {
  DLT_CHECK(graphs.two.nodes().size() == graphs.three.nodes().size(), "graphs of one model");
  const auto rules = all_rules();
  Builder builder(graphs, params);
  const std::vector<bool> needed = needed_nodes(builder);
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    const autodiff::Node& node = graphs.two.nodes()[i];
    builder.begin(node);
    const auto rule = rules.find(node.op->name);
    if (rule == rules.end()) builder.refuse("has no equivalent in ONNX");
    rule->second(builder, node);
  }
  return serialize(builder.take(labels));
}

}  // namespace dlt::onnx

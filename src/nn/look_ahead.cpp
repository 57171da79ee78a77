// SPDX-License-Identifier: Apache-2.0
// With a batch of one and positions in front of all other sizes, the elements of a value lie in the
// order of positions: element i of n belongs to position i / (n / T). A reshape keeps that.
#include "nn/look_ahead.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace dlt::nn {
namespace {

using autodiff::Graph;
using autodiff::ValueId;

/// Of a value: whether it depends on the input, and if so, why its positions are not kept apart.
struct Positions {
  bool depends = false;
  bool last = false;   // a state behind the last position
  std::string reason;  // empty: position t depends on positions up to t
  std::string layer;
};

/// What works on each element, or on each vector of a token.
constexpr std::array<std::string_view, 10> kByElement{"batch_norm_inference",
                                                      "bias_add",
                                                      "copy",
                                                      "embedding",
                                                      "position_add",
                                                      "reshape",
                                                      "rope",
                                                      "sinusoid_add",
                                                      "time_mask",
                                                      "token_mask"};
/// What works on each row of the last axis.
constexpr std::array<std::string_view, 9> kByRow{"add_layer_norm", "concat",      "layer_norm",
                                                 "linear",         "log_softmax", "matmul",
                                                 "rms_norm",       "slice",       "softmax"};

/// Whether no element or row of a result takes in more than one position.
bool keeps_apart(const Graph& graph, const autodiff::Node& node, std::int64_t length) {
  const auto is_in = [&](const auto& names) {
    return std::find(names.begin(), names.end(), node.op->name) != names.end();
  };
  const bool by_row = is_in(kByRow);
  if (!by_row && !is_in(kByElement) && node.op->pointwise != autodiff::Pointwise::each)
    return false;
  if (node.attrs.integer("trans_a") != 0) return false;
  return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    const tensor::Shape& shape = graph.shape(id);
    // A norm's moments have a number a row.
    const bool moments = by_row && shape.rank() == 1;
    return (by_row && !moments ? shape.rows() : shape.numel()) % length == 0;
  });
}

/// Whether a window along the positions (axis 2 of [1, 1, T, C]) ends at the position it is for.
bool ends_at_its_position(std::int64_t size, std::int64_t stride, std::int64_t pad_before) {
  return stride == 1 && pad_before >= size - 1;
}

std::string window_reason(const Graph& graph, const autodiff::Node& node, std::int64_t length) {
  const tensor::Shape &x = graph.shape(node.inputs[0]), &y = graph.shape(node.outputs[0]);
  const bool sequence = x.rank() == 4 && x[1] == 1 && x[2] == length && y[2] == length;
  const tensor::Attrs& attrs = node.attrs;
  bool behind = false;
  if (sequence && node.op->name == "conv2d") {
    const std::int64_t size =
        (graph.shape(node.inputs[1])[1] - 1) * attrs.integer("dilation_w", 1) + 1;
    behind = ends_at_its_position(size, attrs.integer("stride_w", 1), attrs.integer("pad_left"));
  } else if (sequence) {
    behind = ends_at_its_position(attrs.integers("window")[1], attrs.integers("strides")[1],
                                  attrs.integers("pads")[2]);
  }
  return behind ? ""
                : cat(node.op->name == "conv2d" ? "a convolution" : "pooling",
                      " takes in later positions");
}

/// Why a node mixes positions, where its operands keep them apart; empty: it keeps them, too.
std::string reason_of(const Graph& graph, const autodiff::Node& node, std::int64_t length) {
  const std::string_view op = node.op->name;
  if (op == "attention") {
    return node.attrs.integer("causal") != 0 ? "" : "its attention is not causal";
  }
  if (op == "lstm" || op == "gru" || op == "simple_rnn") {
    return node.attrs.integer("reverse") == 0 ? "" : "it goes from the last position to the first";
  }
  if (op == "conv2d" || op == "max_pool2d" || op == "avg_pool2d") {
    return window_reason(graph, node, length);
  }
  return keeps_apart(graph, node, length) ? "" : cat("op ", op, " does not keep positions apart");
}

Positions positions_of(const Graph& graph, const autodiff::Node& node, std::int64_t length,
                       const std::vector<Positions>& known) {
  Positions result;
  for (const ValueId id : node.inputs) {
    const Positions& operand = known[static_cast<std::size_t>(id.index)];
    if (!operand.depends) continue;
    result.depends = true;
    if (!operand.reason.empty()) return operand;
    if (operand.last) {
      return {true, false, "it takes the state behind the last position", node.scope};
    }
  }
  if (!result.depends) return result;
  result.reason = reason_of(graph, node, length);
  result.layer = node.scope;
  return result;
}

}  // namespace

std::optional<LookAhead> find_look_ahead(const Graph& graph, ValueId input, ValueId result) {
  const std::int64_t length = graph.shape(input)[1];
  std::vector<Positions> known(graph.values().size());
  const auto at = [&](ValueId id) -> Positions& {
    return known[static_cast<std::size_t>(id.index)];
  };
  at(input).depends = true;
  for (const autodiff::Node& node : graph.nodes()) {
    const Positions made = positions_of(graph, node, length, known);
    for (const ValueId id : node.outputs) at(id) = made;
    const bool recurrent =
        node.op->name == "lstm" || node.op->name == "gru" || node.op->name == "simple_rnn";
    if (!made.depends || !recurrent) continue;
    for (const ValueId id : node.outputs) at(id).last = graph.shape(id).rank() == 2;
  }
  const Positions& end = at(result);
  if (end.last) return LookAhead{end.layer, "it gives the state behind the last position"};
  if (end.reason.empty()) return std::nullopt;
  return LookAhead{end.layer, end.reason};
}

}  // namespace dlt::nn

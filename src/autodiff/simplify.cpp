// SPDX-License-Identifier: Apache-2.0
// Nodes that give back what they get. What is not here occurs in no graph that layers and
// derivatives make: there are no ops that transpose or cast.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "autodiff/passes.h"
#include "autodiff/pattern.h"

namespace dlt::autodiff {
namespace {

using Integers = std::vector<std::int64_t>;

/// Whether all numbers of a constant are that one (and not its negative, where it is 0).
template <typename T>
bool all_are(std::span<const T> numbers, double number) {
  return std::all_of(numbers.begin(), numbers.end(),
                     [&](T x) { return static_cast<double>(x) == number && !std::signbit(x); });
}

bool is_all(const Graph& graph, ValueId id, double number) {
  const Value& value = graph.value(id);
  if (value.kind != ValueKind::constant) return false;
  const tensor::Tensor& numbers = graph.constant(id);
  if (value.type.dtype == DType::f32) return all_are<float>(numbers.as<const float>(), number);
  if (value.type.dtype == DType::f64) return all_are<double>(numbers.as<const double>(), number);
  return false;
}

bool all_equal(const Integers& values, std::int64_t wanted) {
  return std::all_of(values.begin(), values.end(), [&](auto value) { return value == wanted; });
}

bool same_type(const Graph& graph, const Node& node) {
  return graph.value(node.inputs[0]).type == graph.value(node.outputs[0]).type;
}

/// The op's own inverse, or an op that does nothing the second time.
ValueId undone(const Graph& graph, const Node& node, std::string_view inner_op) {
  const Node* inner = made_by(graph, node.inputs[0], inner_op);
  return inner != nullptr ? inner->inputs[0] : ValueId{};
}

ValueId scaled_by_one(const Graph&, const Node& node) {
  const bool same = node.attrs.number("factor", 1.0) == 1.0 && node.attrs.number("offset") == 0.0;
  return same ? node.inputs[0] : ValueId{};
}

ValueId unshaped(const Graph& graph, const Node& node) {
  return same_type(graph, node) ? node.inputs[0] : ValueId{};
}

ValueId kept_by_dropout(const Graph&, const Node& node) {
  return node.attrs.number("rate") == 0.0 ? node.inputs[0] : ValueId{};
}

ValueId padded_by_nothing(const Graph& graph, const Node& node) {
  if (all_equal(node.attrs.integers("pads"), 0)) return node.inputs[0];
  const bool crops = node.op->name == "crop2d";
  const Node* pad = crops ? made_by(graph, node.inputs[0], "pad2d") : nullptr;
  const bool back = pad != nullptr && pad->attrs.integers("pads") == node.attrs.integers("pads");
  return back ? pad->inputs[0] : ValueId{};
}

ValueId window_of_one(const Graph&, const Node& node) {
  const bool one = all_equal(node.attrs.integers("window"), 1) &&
                   all_equal(node.attrs.integers("strides"), 1) &&
                   all_equal(node.attrs.integers("pads"), 0);
  return one ? node.inputs[0] : ValueId{};
}

ValueId enlarged_by_one(const Graph&, const Node& node) {
  return all_equal(node.attrs.integers("size"), 1) ? node.inputs[0] : ValueId{};
}

ValueId alone(const Graph&, const Node& node) {
  return node.inputs.size() == 1 ? node.inputs[0] : ValueId{};
}

ValueId negated_twice(const Graph& graph, const Node& node) { return undone(graph, node, "neg"); }

/// relu of a relu, abs of an abs: the inner one's output.
ValueId done_before(const Graph& graph, const Node& node) {
  return made_by(graph, node.inputs[0], node.op->name) != nullptr ? node.inputs[0] : ValueId{};
}

ValueId plus_zero(const Graph& graph, const Node& node) {
  if (is_all(graph, node.inputs[1], 0)) return node.inputs[0];
  const bool first = node.op->name == "add" && is_all(graph, node.inputs[0], 0);
  return first ? node.inputs[1] : ValueId{};
}

ValueId times_one(const Graph& graph, const Node& node) {
  if (is_all(graph, node.inputs[1], 1)) return node.inputs[0];
  const bool first = node.op->name == "mul" && is_all(graph, node.inputs[0], 1);
  return first ? node.inputs[1] : ValueId{};
}

struct Rule {
  std::string_view op;
  ValueId (*equal)(const Graph& graph, const Node& node);  // what output 0 equals, or invalid
};
constexpr std::array kRules{
    Rule{"abs", done_before},
    Rule{"add", plus_zero},
    Rule{"avg_pool2d", window_of_one},
    Rule{"concat", alone},
    Rule{"crop2d", padded_by_nothing},
    Rule{"div", times_one},
    Rule{"dropout", kept_by_dropout},
    Rule{"mul", times_one},
    Rule{"neg", negated_twice},
    Rule{"pad2d", padded_by_nothing},
    Rule{"relu", done_before},
    Rule{"reshape", unshaped},
    Rule{"scale", scaled_by_one},
    Rule{"slice", unshaped},
    Rule{"sub", plus_zero},
    Rule{"upsample2d", enlarged_by_one},
};

ValueId equal_value(const Graph& graph, const Node& node) {
  for (const Rule& rule : kRules) {
    if (rule.op == node.op->name) return rule.equal(graph, node);
  }
  return {};
}

bool is_wanted(const Graph& graph, ValueId id) {
  return std::any_of(graph.outputs().begin(), graph.outputs().end(),
                     [&](const auto& output) { return output.second == id; }) ||
         std::any_of(graph.gradients().begin(), graph.gradients().end(),
                     [&](const auto& entry) { return entry.second == id; });
}

}  // namespace

int simplify(Graph& graph) {
  std::vector<ValueId> stands_for(graph.values().size());
  int changed = 0;
  for (Node& node : graph.mutable_nodes()) {
    for (ValueId& input : node.inputs) {
      const ValueId other = stands_for[static_cast<std::size_t>(input.index)];
      if (other.valid()) input = other;
    }
    if (node.op->name == "reshape") {
      const Node* inner = made_by(graph, node.inputs[0], "reshape");
      if (inner != nullptr) node.inputs[0] = inner->inputs[0];
    }
    const ValueId equal = equal_value(graph, node);
    if (!equal.valid() || is_wanted(graph, node.outputs[0])) continue;
    stands_for[static_cast<std::size_t>(node.outputs[0].index)] = equal;
    ++changed;
  }
  return changed;
}

void optimize(Graph& graph, tensor::Backend& backend) {
  (void)remove_dead_nodes(graph);
  (void)fold_constants(graph, backend);
  (void)simplify(graph);
  (void)remove_dead_nodes(graph);
  (void)fuse_pointwise(graph);
}

}  // namespace dlt::autodiff

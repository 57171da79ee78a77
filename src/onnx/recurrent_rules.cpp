// SPDX-License-Identifier: Apache-2.0
// In dltrain the product of all steps' inputs stands before the op; ONNX's operators make it
// themselves, so it is found again. Sequences are [T, B, n] there, weights [1, gates · H, n]. Where
// there is a mask, or no such product, the steps are written out.
#include <algorithm>
#include <array>
#include <optional>

#include "onnx/builder.h"
#include "onnx/recurrent.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using tensor::Shape;
using tensor::Tensor;

/// y = reshape(reshape(x) · weight + bias)
struct InputProduct {
  ValueId x, weight;
  ValueId bias;  // may be invalid
};

std::optional<InputProduct> find_product(const Builder& b, ValueId y) {
  const auto made_by = [&](ValueId id, std::string_view op) -> const Node* {
    const Node* node = b.producer(id);
    return node != nullptr && node->op->name == op ? node : nullptr;
  };
  const Node* outer = made_by(y, "reshape");
  if (outer == nullptr) return {};
  InputProduct out;
  const Node* product = nullptr;
  if (const Node* linear = made_by(outer->inputs[0], "linear")) {
    if (linear->attrs.word("activation", "none") != "none") return {};
    product = linear;
    out.bias = linear->inputs[2];
  } else {
    ValueId sum = outer->inputs[0];
    if (const Node* add = made_by(sum, "bias_add")) {
      out.bias = add->inputs[1];
      sum = add->inputs[0];
    }
    product = made_by(sum, "matmul");
    if (product == nullptr || product->attrs.integer("trans_a") != 0 ||
        product->attrs.integer("trans_b") != 0) {
      return {};
    }
  }
  out.weight = product->inputs[1];
  const Node* rows = made_by(product->inputs[0], "reshape");
  if (rows == nullptr || b.shape(rows->inputs[0]).rank() != 3) return {};
  out.x = rows->inputs[0];
  return out;
}

/// That of a recurrent node which becomes ONNX's operator; none: its steps are written out.
std::optional<InputProduct> product_of(const Builder& b, const Node& node) {
  if (node.attrs.integer("masked") != 0) return {};
  return find_product(b, node.inputs[0]);
}

/// The gates in ONNX's order, as numbers of dltrain's.
using GateOrder = std::vector<std::int64_t>;

/// [n, gates · H] to [1, gates · H, n]
Tensor gates_first(const Tensor& weight, const GateOrder& order) {
  const std::int64_t n = weight.shape()[0], width = weight.shape()[1];
  const std::int64_t units = width / static_cast<std::int64_t>(order.size());
  Tensor out({1, width, n}, DType::f32);
  const auto from = weight.as<float>();
  auto to = out.as<float>().begin();
  for (const std::int64_t gate : order) {
    for (std::int64_t column = gate * units; column < (gate + 1) * units; ++column) {
      for (std::int64_t i = 0; i < n; ++i)
        *to++ = from[static_cast<std::size_t>(i * width + column)];
    }
  }
  return out;
}

/// Both biases behind each other, [1, 2 · gates · H]; zeros for one that is not there.
Tensor both_biases(const Builder& b, std::array<ValueId, 2> biases, std::int64_t width,
                   const GateOrder& order) {
  const std::int64_t units = width / static_cast<std::int64_t>(order.size());
  Tensor out({1, 2 * width}, DType::f32);
  auto to = out.as<float>().begin();
  for (const ValueId bias : biases) {
    if (!bias.valid()) {
      to += width;
      continue;
    }
    const Tensor numbers = b.param(bias);
    const auto from = numbers.as<float>();
    for (const std::int64_t gate : order) {
      to = std::copy_n(from.begin() + gate * units, units, to);
    }
  }
  return out;
}

struct Cell {
  const char* op;
  GateOrder order;
  std::size_t sequence;  // which output of the node holds all steps; the last stands behind it
};

void write_cell(Builder& b, const Node& node, const Cell& cell, Attributes attributes) {
  if (node.attrs.integer("initial") != 0) b.refuse("that is given a state cannot be exported");
  const std::optional<InputProduct> product = product_of(b, node);
  if (!product) {
    return write_scan(
        b, node,
        {.gates = static_cast<std::int64_t>(cell.order.size()), .sequence = cell.sequence});
  }
  const std::int64_t width = b.shape(node.inputs[1])[1];
  const std::int64_t units = width / static_cast<std::int64_t>(cell.order.size());
  const bool reverse = node.attrs.integer("reverse") != 0;
  const ValueId recurrent_bias = node.attrs.integer("bias") != 0 ? node.inputs[2] : ValueId{};
  const std::string weight =
      b.constant(b.param_name(product->weight), gates_first(b.param(product->weight), cell.order));
  const std::string recurrent =
      b.constant(b.param_name(node.inputs[1]), gates_first(b.param(node.inputs[1]), cell.order));
  const std::string bias =
      b.constant(product->bias.valid() ? b.param_name(product->bias) : "zero_bias",
                 both_biases(b, {product->bias, recurrent_bias}, width, cell.order));
  attributes.emplace_back("hidden_size", units);
  attributes.emplace_back("direction", std::string(reverse ? "reverse" : "forward"));
  const std::string steps = b.transpose(b.name(product->x), {1, 0, 2});
  const auto outputs = b.add_many(cell.op, {steps, weight, recurrent, bias}, 2, attributes);
  // [T, 1, B, H] and [1, B, H]
  b.set(node.outputs[cell.sequence],
        b.transpose(b.add("Squeeze", {outputs[0], b.integers({1})}), {1, 0, 2}));
  b.set(node.outputs[cell.sequence + 1], b.add("Squeeze", {outputs[1], b.integers({0})}));
}

void lstm(Builder& b, const Node& node) {
  write_cell(b, node, {.op = "LSTM", .order = {0, 3, 1, 2}, .sequence = 1}, {});
}

void gru(Builder& b, const Node& node) {
  write_cell(b, node, {.op = "GRU", .order = {1, 0, 2}, .sequence = 1},
             {{"linear_before_reset", std::int64_t{1}}});
}

void simple_rnn(Builder& b, const Node& node) {
  const bool relu = node.attrs.word("activation", "tanh") == "relu";
  write_cell(b, node, {.op = "RNN", .order = {0}, .sequence = 0},
             {{"activations", std::vector<std::string>{relu ? "Relu" : "Tanh"}}});
}

}  // namespace

std::vector<ValueId> values_read(const Builder& b, const Node& node) {
  std::vector<ValueId> out = node.inputs;
  const auto rules = recurrent_rules();
  const bool recurrent = std::any_of(rules.begin(), rules.end(),
                                     [&](const Rule& rule) { return rule.op == node.op->name; });
  if (!recurrent) return out;
  if (const auto product = product_of(b, node)) out[0] = product->x;
  return out;
}

std::span<const Rule> recurrent_rules() {
  static constexpr std::array<Rule, 3> kRules = {
      {{"gru", gru}, {"lstm", lstm}, {"simple_rnn", simple_rnn}}};
  return kRules;
}

}  // namespace dlt::onnx

// SPDX-License-Identifier: Apache-2.0
// Recurrent ops as ONNX's Scan: one step written out, which the operators RNN, LSTM and GRU have no
// mask for.
#include <array>

#include "onnx/builder.h"
#include "onnx/recurrent.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using Names = std::vector<std::string>;

/// Columns [gate · units, (gate + 1) · units)
std::string gate(Builder& b, const std::string& x, std::int64_t number, std::int64_t units) {
  return b.slice(x, -1, number * units, (number + 1) * units);
}

/// A step: from the input's sums and the states before it to those behind it, h first.
struct Step {
  const Node& node;
  std::int64_t units;
  std::string sums, weight, bias;  // bias may be ""
  Names states;
};

std::string recurrent_sums(Builder& b, const Step& s) {
  return b.add("MatMul", {s.states[0], s.weight});
}

Names lstm_step(Builder& b, const Step& s) {
  const std::string all = b.add("Add", {s.sums, recurrent_sums(b, s)});
  const auto open = [&](std::int64_t i) { return b.add("Sigmoid", {gate(b, all, i, s.units)}); };
  const std::string fresh = b.add("Mul", {open(0), b.add("Tanh", {gate(b, all, 2, s.units)})});
  const std::string c = b.add("Add", {b.add("Mul", {open(1), s.states[1]}), fresh});
  return {b.add("Mul", {open(3), b.add("Tanh", {c})}), c};
}

Names gru_step(Builder& b, const Step& s) {
  std::string inner = recurrent_sums(b, s);
  if (!s.bias.empty()) inner = b.add("Add", {inner, s.bias});
  const auto both = [&](std::int64_t i) {
    return b.add("Sigmoid",
                 {b.add("Add", {gate(b, s.sums, i, s.units), gate(b, inner, i, s.units)})});
  };
  const std::string z = both(1);
  const std::string seen = b.add("Mul", {both(0), gate(b, inner, 2, s.units)});
  const std::string n = b.add("Tanh", {b.add("Add", {gate(b, s.sums, 2, s.units), seen})});
  const std::string kept = b.add("Mul", {z, s.states[0]});
  return {b.add("Add", {b.add("Mul", {b.add("Sub", {b.scalar(1), z}), n}), kept})};
}

Names rnn_step(Builder& b, const Step& s) {
  const bool relu = s.node.attrs.word("activation", "tanh") == "relu";
  return {b.add(relu ? "Relu" : "Tanh", {b.add("Add", {s.sums, recurrent_sums(b, s)})})};
}

/// Zeros [samples, units].
std::string zero_state(Builder& b, ValueId x, std::int64_t units) {
  const std::string samples =
      b.add("Shape", {b.name(x)}, {{"start", std::int64_t{0}}, {"end", std::int64_t{1}}});
  return b.add("ConstantOfShape",
               {b.add("Concat", {samples, b.integers({units})}, {{"axis", std::int64_t{0}}})});
}

}  // namespace

void write_scan(Builder& b, const Node& node, const ScanForm& form) {
  const std::int64_t width = b.shape(node.inputs[1])[1], units = width / form.gates;
  const bool masked = node.attrs.integer("masked") != 0;
  const std::size_t num_states = form.gates == 4 ? 2 : 1;
  const std::string sums = b.name(node.inputs[0]), zero = zero_state(b, node.inputs[0], units);
  Names outer(num_states, zero);
  outer.push_back(sums);
  if (masked) {
    const std::string counts = b.differs({b.name(node.inputs.back()), b.scalar(0)});
    outer.push_back(b.add("Unsqueeze", {counts, b.integers({2})}));
  }
  Step step{.node = node,
            .units = units,
            .sums = b.unused("step"),
            .weight = b.name(node.inputs[1]),
            .bias = node.attrs.integer("bias") != 0 ? b.name(node.inputs[2]) : "",
            .states = {}};
  std::vector<ValueDef> inputs, outputs;
  for (std::size_t i = 0; i < num_states; ++i) {
    step.states.push_back(b.unused("state"));
    inputs.push_back({.name = step.states[i], .dtype = DType::f32, .dims = {-1, units}});
  }
  inputs.push_back({.name = step.sums, .dtype = DType::f32, .dims = {-1, width}});
  const std::string real = masked ? b.unused("real") : "";
  if (masked) inputs.push_back({.name = real, .dtype = DType::boolean, .dims = {-1, 1}});

  b.open_body();
  Names after = form.gates == 4   ? lstm_step(b, step)
                : form.gates == 3 ? gru_step(b, step)
                                  : rnn_step(b, step);
  for (std::size_t i = 0; masked && i < num_states; ++i) {
    after[i] = b.add("Where", {real, after[i], step.states[i]});
  }
  after.push_back(b.add("Identity", {after[0]}));
  for (const std::string& name : after)
    outputs.push_back({.name = name, .dtype = DType::f32, .dims = {-1, units}});
  const Subgraph body = b.close_body(inputs, outputs);

  const std::int64_t back = node.attrs.integer("reverse");
  const std::vector<std::int64_t> each_input(masked ? 2 : 1, 1);
  const auto results =
      b.add_many("Scan", outer, num_states + 1,
                 {{"body", body},
                  {"num_scan_inputs", static_cast<std::int64_t>(each_input.size())},
                  {"scan_input_axes", each_input},
                  {"scan_input_directions", std::vector<std::int64_t>(each_input.size(), back)},
                  {"scan_output_axes", std::vector<std::int64_t>{1}},
                  {"scan_output_directions", std::vector<std::int64_t>{back}}});
  b.set(node.outputs[form.sequence], results.back());
  b.set(node.outputs[form.sequence + 1], results[0]);
}

}  // namespace dlt::onnx

// SPDX-License-Identifier: Apache-2.0
#include "nn/layers/recurrent.h"

#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

using autodiff::Graph;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::Shape;

constexpr std::int64_t kYes = 1;

ValueId reshaped(Graph& graph, ValueId x, const Shape& shape) {
  return graph.add_one(
      "reshape", {x},
      {{"shape", std::vector<std::int64_t>(shape.dims().begin(), shape.dims().end())}});
}

/// Index of y among the op's outputs; the last state stands behind it.
std::size_t sequence_output(const Cell& cell) { return cell.gates == 1 ? 0 : 1; }

ValueId merged(Graph& graph, const std::string& merge, ValueId forward, ValueId backward) {
  if (merge == "concat") return graph.add_one("concat", {forward, backward});
  if (merge == "mul") return graph.add_one("mul", {forward, backward});
  const ValueId sum = graph.add_one("add", {forward, backward});
  return merge == "ave" ? graph.add_one("scale", {sum}, {{"factor", 0.5}}) : sum;
}

RecurrentOptions read_options(config::MapReader& options, const Cell& cell) {
  RecurrentOptions result;
  result.cell = cell;
  result.units = options.integer("units", {.min = 1, .max = 1 << 24});
  // Gates are sigmoid and candidates tanh, as the fused kernels have them.
  const std::vector<std::string> legal =
      cell.gates == 1 ? std::vector<std::string>{"relu", "tanh"} : std::vector<std::string>{"tanh"};
  result.activation = options.choice("activation", legal, std::string("tanh"));
  result.return_sequences = options.boolean("return_sequences", false);
  result.use_bias = options.boolean("use_bias", true);
  result.go_backwards = options.boolean("go_backwards", false);
  const bool both = options.boolean("bidirectional", false);
  const std::string merge = options.choice("merge", merge_names(), std::string("concat"));
  if (both) result.merge = merge;
  if (both && result.go_backwards) {
    options.error("go_backwards", "expected false beside bidirectional: true, got 'true'");
  }
  result.stateful = options.boolean("stateful", false);
  if (result.stateful && (both || result.go_backwards)) {
    options.error("stateful", "expected false beside bidirectional or go_backwards, got 'true'",
                  "only a layer that runs forwards can go on where it stopped");
  }
  result.kernel_init = read_init(options, "kernel_init", InitKind::glorot_uniform);
  result.recurrent_init = read_init(options, "recurrent_init", InitKind::orthogonal);
  result.bias_init = read_init(options, "bias_init", InitKind::zeros);
  return result;
}

}  // namespace

std::vector<std::string> merge_names() { return {"ave", "concat", "mul", "sum"}; }

ValueId Recurrent::bias(BuildContext& context, const std::string& name) const {
  Init init = options_.bias_init;
  init.fan_in = static_cast<double>(options_.units);
  init.fan_out = static_cast<double>(options_.cell.gates * options_.units);
  if (options_.unit_forget_bias) {
    init.ones_from = options_.units;
    init.ones_to = 2 * options_.units;
  }
  return context.param(name, {options_.cell.gates * options_.units}, init);
}

/// x · weight + bias of all steps at once.
ValueId Recurrent::input_product(BuildContext& context, ValueId x,
                                 const std::string& suffix) const {
  Graph& graph = context.graph;
  const Shape shape = graph.shape(x);
  const std::int64_t width = options_.cell.gates * options_.units;
  Init init = options_.kernel_init;
  init.fan_in = static_cast<double>(shape[2]);
  init.fan_out = static_cast<double>(width);
  const ValueId weight = context.param("weight" + suffix, {shape[2], width}, init);
  const ValueId rows = reshaped(graph, x, {shape[0] * shape[1], shape[2]});
  ValueId sums = graph.add_one("matmul", {rows, weight});
  if (options_.use_bias) {
    sums = graph.add_one("bias_add", {sums, bias(context, "bias" + suffix)});
  }
  return reshaped(graph, sums, {shape[0], shape[1], width});
}

/// The states before the first step, where they come from the step of training before.
void Recurrent::add_states(BuildContext& context, std::int64_t batch, std::vector<ValueId>& inputs,
                           Attrs& attrs) const {
  if (!options_.stateful) return;
  inputs.push_back(context.carry_in("h", batch, options_.units));
  if (options_.cell.gates == 4) inputs.push_back(context.carry_in("c", batch, options_.units));
  if (inputs.back().valid()) {
    attrs.set("initial", kYes);
  } else {  // evaluation begins with zeros
    std::erase(inputs, ValueId{});
  }
}

ValueId Recurrent::one_direction(BuildContext& context, ValueId x, bool reverse,
                                 const std::string& suffix) const {
  const Cell& cell = options_.cell;
  const std::int64_t width = cell.gates * options_.units;
  const ValueId sums = input_product(context, x, suffix);
  Init init = options_.recurrent_init;
  init.fan_in = static_cast<double>(options_.units);
  init.fan_out = static_cast<double>(width);
  std::vector<ValueId> inputs{
      sums, context.param("recurrent_weight" + suffix, {options_.units, width}, init)};
  Attrs attrs;
  if (cell.gates == 1) attrs.set("activation", options_.activation);
  if (cell.recurrent_bias && options_.use_bias) {
    inputs.push_back(bias(context, "recurrent_bias" + suffix));
    attrs.set("bias", kYes);
  }
  add_states(context, context.graph.shape(x)[0], inputs, attrs);
  if (context.mask.valid()) {
    inputs.push_back(context.mask);
    attrs.set("masked", kYes);
  }
  if (reverse) attrs.set("reverse", kYes);
  const std::vector<ValueId> outputs = context.graph.add(cell.op, std::move(inputs), attrs);
  if (options_.stateful) {
    context.carry_out("h", outputs[sequence_output(cell) + 1]);
    if (cell.gates == 4) context.carry_out("c", outputs[sequence_output(cell) + 2]);
  }
  return outputs[sequence_output(cell) + (options_.return_sequences ? 0 : 1)];
}

ValueId Recurrent::build(BuildContext& context, ValueId x) const {
  if (context.graph.shape(x).rank() != 3) {
    refuse_input(context, x, "a sequence [T, n]",
                 "an embedding gives one from token ids; reshape: {shape: [T, n]} from numbers");
  }
  ValueId y = one_direction(context, x, options_.go_backwards, "");
  if (bidirectional()) {
    y = merged(context.graph, options_.merge, y, one_direction(context, x, true, "_reverse"));
  }
  if (!options_.return_sequences) context.mask = {};
  return y;
}

std::unique_ptr<Layer> make_simple_rnn(config::MapReader& options) {
  return std::make_unique<Recurrent>(
      read_options(options, {.op = "simple_rnn", .gates = 1, .recurrent_bias = false}));
}

std::unique_ptr<Layer> make_lstm(config::MapReader& options) {
  RecurrentOptions lstm =
      read_options(options, {.op = "lstm", .gates = 4, .recurrent_bias = false});
  lstm.unit_forget_bias = options.boolean("unit_forget_bias", true);
  return std::make_unique<Recurrent>(std::move(lstm));
}

std::unique_ptr<Layer> make_gru(config::MapReader& options) {
  return std::make_unique<Recurrent>(
      read_options(options, {.op = "gru", .gates = 3, .recurrent_bias = true}));
}

}  // namespace dlt::nn

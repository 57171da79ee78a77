// SPDX-License-Identifier: Apache-2.0
// simple_rnn, simple_rnn_grad. source  Elman 1990
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "ops/activation.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/recurrent.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;

const Activation& rnn_activation(std::string_view op, const Attrs& attrs) {
  const std::string name = attrs.word("activation", "tanh");
  if (name != "tanh" && name != "relu") {
    rule_broken(op, cat("activation is ", printable(name), "; want relu or tanh"));
  }
  return *find_activation(name);
}

TypeList infer_simple_rnn(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("simple_rnn", inputs, 1);
  expect_precision("simple_rnn", attrs);
  (void)rnn_activation("simple_rnn", attrs);
  OperandRules("simple_rnn", inputs)
      .expect("x", sizes.sequence(sizes.units))
      .expect("weight", {sizes.units, sizes.units})
      .expect_if(form.initial, "h0", sizes.state())
      .expect_if(form.masked, "mask", sizes.mask())
      .finish();
  return {inputs[0], {sizes.state(), inputs[0].dtype}};
}

template <typename T>
void simple_rnn_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const Activation& activation = rnn_activation("simple_rnn", attrs);
  OperandPointers<const T> in(args.inputs);
  const T *x = in.next(), *weight = in.next();
  const T *h0 = in.next_if(form.initial), *mask = in.next_if(form.masked);
  T *y = args.outputs[0].as<T>(), *last_h = args.outputs[1].as<T>();
  const tensor::Shape& shape = args.outputs[0].type.shape;
  const std::int64_t steps = shape[1], units = shape[2];
  const StepOrder order{steps, form.reverse};
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    const T* h = h0 != nullptr ? h0 + b * units : nullptr;
    for (std::int64_t index = 0; index < steps; ++index) {
      const std::int64_t row = b * steps + order.at(index);
      const bool skip = mask != nullptr && mask[row] == T{0};
      for (std::int64_t j = 0; j < units; ++j) {
        const double start = static_cast<double>(x[row * units + j]);
        const double run =
            skip ? 0.0
                 : activation.value(
                       recurrent_sum(start, h, weight + j, units, units, form.rounding), 0);
        const T kept = h != nullptr ? h[j] : T{0};
        y[row * units + j] = skip ? kept : static_cast<T>(run);
      }
      h = y + row * units;
    }
    for (std::int64_t j = 0; j < units; ++j) last_h[b * units + j] = h != nullptr ? h[j] : T{0};
  }
}

std::int64_t simple_rnn_flops(Types inputs, Types, const Attrs&) {
  return 2 * inputs[0].shape.numel() * inputs[0].shape[2];
}

std::vector<ValueId> simple_rnn_vjp(Graph& graph, const Node& node,
                                    std::span<const ValueId> grads) {
  const RecurrentForm form(node.attrs);
  const std::vector<ValueId> inputs = node.inputs, outputs = node.outputs;  // adding nodes moves
  Attrs attrs{{"activation", node.attrs.word("activation", "tanh")}};
  std::vector<ValueId> operands{outputs[0], inputs[1]};
  const auto pass = [&](const char* name, bool present, ValueId value) {
    if (!present) return;
    attrs.set(name, kYes);
    operands.push_back(value);
  };
  if (form.reverse) attrs.set("reverse", kYes);
  if (form.initial) attrs.set("initial", kYes);
  pass("masked", form.masked, inputs.back());
  pass("dy", grads[0].valid(), grads[0]);
  pass("dlast_h", grads[1].valid(), grads[1]);
  const std::vector<ValueId> d =
      graph.add("simple_rnn_grad", std::move(operands), std::move(attrs));
  const ValueId dweight =
      add_recurrent_weight_grad(graph, {.y = outputs[0],
                                        .d = d[0],
                                        .h0 = form.initial ? inputs[2] : ValueId{},
                                        .reverse = form.reverse});
  std::vector<ValueId> result{d[0], dweight};
  if (form.initial) result.push_back(d[1]);
  if (form.masked) result.emplace_back();
  return result;
}

TypeList infer_simple_rnn_grad(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("simple_rnn_grad", inputs, 1);
  expect_precision("simple_rnn_grad", attrs);
  (void)rnn_activation("simple_rnn_grad", attrs);
  OperandRules("simple_rnn_grad", inputs)
      .expect("y", sizes.sequence(sizes.units))
      .expect("weight", {sizes.units, sizes.units})
      .expect_if(form.masked, "mask", sizes.mask())
      .expect_if(form.dy, "dy", sizes.sequence(sizes.units))
      .expect_if(form.dlast_h, "dlast_h", sizes.state())
      .finish();
  TypeList outputs{inputs[0]};
  if (form.initial) outputs.push_back({sizes.state(), inputs[0].dtype});
  return outputs;
}

template <typename T>
void simple_rnn_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const Activation& activation = rnn_activation("simple_rnn_grad", attrs);
  OperandPointers<const T> in(args.inputs);
  const T *y = in.next(), *weight = in.next(), *mask = in.next_if(form.masked);
  const T *dy = in.next_if(form.dy), *dlast_h = in.next_if(form.dlast_h);
  OperandPointers<T> out(args.outputs);
  T *d = out.next(), *dh0 = out.next_if(form.initial);
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t steps = shape[1], units = shape[2];
  const StepOrder order{steps, form.reverse};
  std::vector<double> dh(static_cast<std::size_t>(units)), change(dh.size());
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    load_state(dlast_h, b, dh);
    for (std::int64_t index = steps - 1; index >= 0; --index) {
      const std::int64_t row = b * steps + order.at(index);
      const T* y_row = y + row * units;
      T* d_row = d + row * units;
      add_row(dy, row, dh);
      if (mask != nullptr && mask[row] == T{0}) {
        std::fill_n(d_row, units, T{0});
        continue;
      }
      for (std::size_t j = 0; j < dh.size(); ++j) {
        change[j] = activation.grad(static_cast<double>(y_row[j]), dh[j], 0);
        d_row[j] = static_cast<T>(change[j]);
      }
      back_through<T>(weight, change, dh, form.rounding);
    }
    store_state(dh, b, dh0);
  }
}

}  // namespace

autodiff::OpDef make_simple_rnn() {
  return {.name = "simple_rnn",
          .infer = infer_simple_rnn,
          .host = host_kernel<simple_rnn_host<float>, simple_rnn_host<double>>,
          .vjp = simple_rnn_vjp,
          .flops = simple_rnn_flops,
          .product = true,
          .in_place = true};
}

autodiff::OpDef make_simple_rnn_grad() {
  return {.name = "simple_rnn_grad",
          .infer = infer_simple_rnn_grad,
          .host = host_kernel<simple_rnn_grad_host<float>, simple_rnn_grad_host<double>>,
          .flops = simple_rnn_flops,
          .product = true};
}

}  // namespace dlt::ops

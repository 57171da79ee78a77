// SPDX-License-Identifier: Apache-2.0
// lstm, lstm_grad. source  Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000
#include <cmath>
#include <utility>
#include <vector>

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

constexpr std::int64_t kLstmGates = 4;  // input, forget, candidate, output

TypeList infer_lstm(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("lstm", inputs, kLstmGates);
  expect_precision("lstm", attrs);
  OperandRules("lstm", inputs)
      .expect("x", sizes.sequence(kLstmGates * sizes.units))
      .expect("weight", {sizes.units, kLstmGates * sizes.units})
      .expect_if(form.initial, "h0", sizes.state())
      .expect_if(form.initial, "c0", sizes.state())
      .expect_if(form.masked, "mask", sizes.mask())
      .finish();
  const DType dtype = inputs[0].dtype;
  return {inputs[0],
          {sizes.sequence(sizes.units), dtype},
          {sizes.state(), dtype},
          {sizes.state(), dtype},
          {sizes.sequence(sizes.units), dtype}};
}

/// One step of one sample. gates may be x.
template <typename T>
struct LstmStep {
  const T *x, *weight, *h_before, *c_before;  // states null: zeros
  T *gates, *h, *c;
  std::int64_t units;
  Rounding rounding;  // of the operands of the product

  void run() const {
    for (std::int64_t j = 0; j < kLstmGates * units; ++j) {
      const double sum = recurrent_sum(static_cast<double>(x[j]), h_before, weight + j, units,
                                       kLstmGates * units, rounding);
      gates[j] = static_cast<T>(j / units == 2 ? std::tanh(sum) : sigmoid(sum, 0));
    }
    for (std::int64_t j = 0; j < units; ++j) {
      const auto gate = [&](std::int64_t g) { return static_cast<double>(gates[g * units + j]); };
      const double before = c_before != nullptr ? static_cast<double>(c_before[j]) : 0.0;
      const double cell = gate(1) * before + gate(0) * gate(2);
      c[j] = static_cast<T>(cell);
      h[j] = static_cast<T>(gate(3) * std::tanh(cell));
    }
  }
  void skip() const {
    std::fill_n(gates, kLstmGates * units, T{0});
    for (std::int64_t j = 0; j < units; ++j) {
      h[j] = h_before != nullptr ? h_before[j] : T{0};
      c[j] = c_before != nullptr ? c_before[j] : T{0};
    }
  }
};

template <typename T>
void lstm_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  OperandPointers<const T> in(args.inputs);
  const T *x = in.next(), *weight = in.next();
  const T *h0 = in.next_if(form.initial), *c0 = in.next_if(form.initial);
  const T* mask = in.next_if(form.masked);
  OperandPointers<T> out(args.outputs);
  T *gates = out.next(), *y = out.next(), *last_h = out.next(), *last_c = out.next();
  T* cells = out.next();
  const tensor::Shape& shape = args.outputs[1].type.shape;
  const std::int64_t steps = shape[1], units = shape[2];
  const StepOrder order{steps, form.reverse};
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    const T* h = h0 != nullptr ? h0 + b * units : nullptr;
    const T* c = c0 != nullptr ? c0 + b * units : nullptr;
    for (std::int64_t index = 0; index < steps; ++index) {
      const std::int64_t row = b * steps + order.at(index);
      const LstmStep<T> step{x + row * kLstmGates * units,
                             weight,
                             h,
                             c,
                             gates + row * kLstmGates * units,
                             y + row * units,
                             cells + row * units,
                             units,
                             form.rounding};
      mask != nullptr&& mask[row] == T{0} ? step.skip() : step.run();
      h = step.h;
      c = step.c;
    }
    for (std::int64_t j = 0; j < units; ++j) {
      last_h[b * units + j] = h != nullptr ? h[j] : T{0};
      last_c[b * units + j] = c != nullptr ? c[j] : T{0};
    }
  }
}

std::int64_t lstm_flops(Types inputs, Types, const Attrs&) {
  const tensor::Shape& x = inputs[0].shape;
  return 2 * x.numel() * (x[2] / kLstmGates);
}

/// Where the gradients of the first states go: outputs 1 and 2 if there are first states.
std::vector<ValueId> lstm_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  const RecurrentForm form(node.attrs);
  const std::vector<ValueId> inputs = node.inputs, outputs = node.outputs;  // adding nodes moves
  Attrs attrs;
  std::vector<ValueId> operands{outputs[0], outputs[4], inputs[1]};
  const auto pass = [&](const char* name, bool present, ValueId value) {
    if (!present) return;
    attrs.set(name, kYes);
    operands.push_back(value);
  };
  if (form.reverse) attrs.set("reverse", kYes);
  pass("initial", form.initial, form.initial ? inputs[3] : ValueId{});
  pass("masked", form.masked, inputs.back());
  pass("dy", grads[1].valid(), grads[1]);
  pass("dlast_h", grads[2].valid(), grads[2]);
  pass("dlast_c", grads[3].valid(), grads[3]);
  const std::vector<ValueId> d = graph.add("lstm_grad", std::move(operands), std::move(attrs));
  const ValueId dweight =
      add_recurrent_weight_grad(graph, {.y = outputs[1],
                                        .d = d[0],
                                        .h0 = form.initial ? inputs[2] : ValueId{},
                                        .reverse = form.reverse});
  std::vector<ValueId> result{d[0], dweight};
  if (form.initial) result.insert(result.end(), {d[1], d[2]});
  if (form.masked) result.emplace_back();
  return result;
}

TypeList infer_lstm_grad(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("lstm_grad", inputs, kLstmGates);
  expect_precision("lstm_grad", attrs);
  OperandRules("lstm_grad", inputs)
      .expect("gates", sizes.sequence(kLstmGates * sizes.units))
      .expect("cells", sizes.sequence(sizes.units))
      .expect("weight", {sizes.units, kLstmGates * sizes.units})
      .expect_if(form.initial, "c0", sizes.state())
      .expect_if(form.masked, "mask", sizes.mask())
      .expect_if(form.dy, "dy", sizes.sequence(sizes.units))
      .expect_if(form.dlast_h, "dlast_h", sizes.state())
      .expect_if(form.dlast_c, "dlast_c", sizes.state())
      .finish();
  TypeList outputs{inputs[0]};
  if (form.initial) outputs.resize(3, {sizes.state(), inputs[0].dtype});
  return outputs;
}

/// The gradients of one sample on their way back through the steps: of h, c and a step's sums.
struct LstmGradients {
  std::vector<double> dh, dc, d;
  Rounding rounding;
  LstmGradients(std::int64_t units, Rounding rounds)
      : dh(static_cast<std::size_t>(units)),
        dc(dh.size()),
        d(kLstmGates * dh.size()),
        rounding(rounds) {}

  /// One step; dx may be gates.
  template <typename T>
  void step(const T* gates, const T* cell, const T* cell_before, const T* weight, T* dx) {
    const std::size_t units = dh.size();
    for (std::size_t j = 0; j < units; ++j) {
      const auto gate = [&](std::size_t g) { return static_cast<double>(gates[g * units + j]); };
      const double i = gate(0), f = gate(1), g = gate(2), o = gate(3);
      const double squashed = std::tanh(static_cast<double>(cell[j]));
      const double before = cell_before != nullptr ? static_cast<double>(cell_before[j]) : 0.0;
      dc[j] += dh[j] * o * (1.0 - squashed * squashed);
      d[j] = dc[j] * g * i * (1.0 - i);
      d[units + j] = dc[j] * before * f * (1.0 - f);
      d[2 * units + j] = dc[j] * i * (1.0 - g * g);
      d[3 * units + j] = dh[j] * squashed * o * (1.0 - o);
      dc[j] *= f;
    }
    for (std::size_t j = 0; j < d.size(); ++j) dx[j] = static_cast<T>(d[j]);
    back_through<T>(weight, d, dh, rounding);
  }
};

template <typename T>
void lstm_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  OperandPointers<const T> in(args.inputs);
  const T *gates = in.next(), *cells = in.next(), *weight = in.next();
  const T *c0 = in.next_if(form.initial), *mask = in.next_if(form.masked);
  const T *dy = in.next_if(form.dy), *dlast_h = in.next_if(form.dlast_h);
  const T* dlast_c = in.next_if(form.dlast_c);
  OperandPointers<T> out(args.outputs);
  T* dx = out.next();
  T *dh0 = out.next_if(form.initial), *dc0 = out.next_if(form.initial);
  const tensor::Shape& shape = args.inputs[1].type.shape;
  const std::int64_t steps = shape[1], units = shape[2], width = kLstmGates * units;
  const StepOrder order{steps, form.reverse};
  LstmGradients sample(units, form.rounding);
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    load_state<T>(dlast_h, b, sample.dh);
    load_state<T>(dlast_c, b, sample.dc);
    const T* start = c0 != nullptr ? c0 + b * units : nullptr;
    for (std::int64_t index = steps - 1; index >= 0; --index) {
      const std::int64_t row = b * steps + order.at(index);
      add_row<T>(dy, row, sample.dh);
      if (mask != nullptr && mask[row] == T{0}) {
        std::fill_n(dx + row * width, width, T{0});
        continue;
      }
      sample.step(gates + row * width, cells + row * units,
                  state_before(order, index, cells + b * steps * units, start, units), weight,
                  dx + row * width);
    }
    store_state<T>(sample.dh, b, dh0);
    store_state<T>(sample.dc, b, dc0);
  }
}

}  // namespace

autodiff::OpDef make_lstm() {
  return {.name = "lstm",
          .infer = infer_lstm,
          .host = host_kernel<lstm_host<float>, lstm_host<double>>,
          .vjp = lstm_vjp,
          .flops = lstm_flops,
          .product = true,
          .in_place = true};
}

autodiff::OpDef make_lstm_grad() {
  return {.name = "lstm_grad",
          .infer = infer_lstm_grad,
          .host = host_kernel<lstm_grad_host<float>, lstm_grad_host<double>>,
          .flops = lstm_flops,
          .product = true,
          .in_place = true};
}

}  // namespace dlt::ops

// SPDX-License-Identifier: Apache-2.0
// gru, gru_grad. source  Cho et al. 2014, with the reset gate behind the recurrent product, as
// cuDNN, PyTorch and Keras (reset_after) have it
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

constexpr std::int64_t kGruGates = 3;  // reset, update, candidate

TypeList infer_gru(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("gru", inputs, kGruGates);
  expect_precision("gru", attrs);
  OperandRules("gru", inputs)
      .expect("x", sizes.sequence(kGruGates * sizes.units))
      .expect("weight", {sizes.units, kGruGates * sizes.units})
      .expect_if(form.bias, "bias", {kGruGates * sizes.units})
      .expect_if(form.initial, "h0", sizes.state())
      .expect_if(form.masked, "mask", sizes.mask())
      .finish();
  const DType dtype = inputs[0].dtype;
  return {inputs[0],
          {sizes.sequence(sizes.units), dtype},
          {sizes.state(), dtype},
          {sizes.sequence(sizes.units), dtype}};
}

/// One step of one sample. gates may be x.
template <typename T>
struct GruStep {
  const T *x, *weight, *bias, *h_before;  // bias, h_before null: zeros
  T *gates, *h, *inner;
  std::int64_t units;
  Rounding rounding;  // of the operands of the product

  [[nodiscard]] double recurrent(std::int64_t j) const {
    const double start = bias != nullptr ? static_cast<double>(bias[j]) : 0.0;
    return recurrent_sum(start, h_before, weight + j, units, kGruGates * units, rounding);
  }
  void run() const {
    for (std::int64_t j = 0; j < 2 * units; ++j) {
      gates[j] = static_cast<T>(sigmoid(static_cast<double>(x[j]) + recurrent(j), 0));
    }
    for (std::int64_t j = 0; j < units; ++j) {
      const std::int64_t at = 2 * units + j;
      const double r = static_cast<double>(gates[j]), z = static_cast<double>(gates[units + j]);
      const double within = recurrent(at);
      const double n = std::tanh(static_cast<double>(x[at]) + r * within);
      const double before = h_before != nullptr ? static_cast<double>(h_before[j]) : 0.0;
      inner[j] = static_cast<T>(within);
      gates[at] = static_cast<T>(n);
      h[j] = static_cast<T>(n + z * (before - n));
    }
  }
  void skip() const {
    std::fill_n(gates, kGruGates * units, T{0});
    std::fill_n(inner, units, T{0});
    for (std::int64_t j = 0; j < units; ++j) h[j] = h_before != nullptr ? h_before[j] : T{0};
  }
};

template <typename T>
void gru_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  OperandPointers<const T> in(args.inputs);
  const T *x = in.next(), *weight = in.next(), *bias = in.next_if(form.bias);
  const T *h0 = in.next_if(form.initial), *mask = in.next_if(form.masked);
  OperandPointers<T> out(args.outputs);
  T *gates = out.next(), *y = out.next(), *last_h = out.next(), *inner = out.next();
  const tensor::Shape& shape = args.outputs[1].type.shape;
  const std::int64_t steps = shape[1], units = shape[2], width = kGruGates * units;
  const StepOrder order{steps, form.reverse};
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    const T* h = h0 != nullptr ? h0 + b * units : nullptr;
    for (std::int64_t index = 0; index < steps; ++index) {
      const std::int64_t row = b * steps + order.at(index);
      const GruStep<T> step{
          x + row * width,     weight, bias,         h, gates + row * width, y + row * units,
          inner + row * units, units,  form.rounding};
      mask != nullptr&& mask[row] == T{0} ? step.skip() : step.run();
      h = step.h;
    }
    for (std::int64_t j = 0; j < units; ++j) last_h[b * units + j] = h != nullptr ? h[j] : T{0};
  }
}

std::int64_t gru_flops(Types inputs, Types, const Attrs&) {
  const tensor::Shape& x = inputs[0].shape;
  return 2 * x.numel() * (x[2] / kGruGates);
}

/// Of the recurrent bias: column sums of d, the last third of inner.
ValueId bias_gradient(Graph& graph, ValueId d, ValueId inner) {
  const std::int64_t units = graph.shape(inner).last();
  const ValueId sums = graph.add_one("bias_grad", {d});
  const ValueId front =
      graph.add_one("slice", {sums}, {{"begin", std::int64_t{0}}, {"size", 2 * units}});
  return graph.add_one("concat", {front, graph.add_one("bias_grad", {inner})});
}

std::vector<ValueId> gru_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  const RecurrentForm form(node.attrs);
  const std::vector<ValueId> inputs = node.inputs, outputs = node.outputs;  // adding nodes moves
  const ValueId h0 = form.initial ? inputs[form.bias ? 3 : 2] : ValueId{};
  Attrs attrs;
  std::vector<ValueId> operands{outputs[0], outputs[1], outputs[3], inputs[1]};
  const auto pass = [&](const char* name, bool present, ValueId value) {
    if (!present) return;
    attrs.set(name, kYes);
    operands.push_back(value);
  };
  if (form.reverse) attrs.set("reverse", kYes);
  pass("initial", form.initial, h0);
  pass("masked", form.masked, inputs.back());
  pass("dy", grads[1].valid(), grads[1]);
  pass("dlast_h", grads[2].valid(), grads[2]);
  const std::vector<ValueId> d = graph.add("gru_grad", std::move(operands), std::move(attrs));
  const ValueId dweight = add_recurrent_weight_grad(
      graph, {.y = outputs[1], .d = d[0], .inner = d[1], .h0 = h0, .reverse = form.reverse});
  std::vector<ValueId> result{d[0], dweight};
  if (form.bias) result.push_back(bias_gradient(graph, d[0], d[1]));
  if (form.initial) result.push_back(d[2]);
  if (form.masked) result.emplace_back();
  return result;
}

TypeList infer_gru_grad(Types inputs, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const RecurrentSizes sizes = recurrent_sizes("gru_grad", inputs, kGruGates);
  expect_precision("gru_grad", attrs);
  OperandRules("gru_grad", inputs)
      .expect("gates", sizes.sequence(kGruGates * sizes.units))
      .expect("y", sizes.sequence(sizes.units))
      .expect("inner", sizes.sequence(sizes.units))
      .expect("weight", {sizes.units, kGruGates * sizes.units})
      .expect_if(form.initial, "h0", sizes.state())
      .expect_if(form.masked, "mask", sizes.mask())
      .expect_if(form.dy, "dy", sizes.sequence(sizes.units))
      .expect_if(form.dlast_h, "dlast_h", sizes.state())
      .finish();
  TypeList outputs{inputs[0], {sizes.sequence(sizes.units), inputs[0].dtype}};
  if (form.initial) outputs.push_back({sizes.state(), inputs[0].dtype});
  return outputs;
}

/// Memory of one step of one sample; h_before null: zeros.
template <typename T>
struct GruStepGrad {
  const T *gates, *h_before, *inner, *weight;
  T *dx, *dinner;  // dx may be gates
};

/// The gradients of one sample on their way back through the steps: of h, and of a step's recurrent
/// product.
struct GruGradients {
  std::vector<double> dh, d, kept;
  Rounding rounding;
  GruGradients(std::int64_t units, Rounding rounds)
      : dh(static_cast<std::size_t>(units)),
        d(kGruGates * dh.size()),
        kept(dh.size()),
        rounding(rounds) {}

  template <typename T>
  void step(const GruStepGrad<T>& at) {
    const std::size_t units = dh.size();
    for (std::size_t j = 0; j < units; ++j) {
      const double r = static_cast<double>(at.gates[j]);
      const double z = static_cast<double>(at.gates[units + j]);
      const double n = static_cast<double>(at.gates[2 * units + j]);
      const double before = at.h_before != nullptr ? static_cast<double>(at.h_before[j]) : 0.0;
      const double dn = dh[j] * (1.0 - z) * (1.0 - n * n);
      d[j] = dn * static_cast<double>(at.inner[j]) * r * (1.0 - r);
      d[units + j] = dh[j] * (before - n) * z * (1.0 - z);
      d[2 * units + j] = dn * r;
      kept[j] = dh[j] * z;
      at.dx[j] = static_cast<T>(d[j]);
      at.dx[units + j] = static_cast<T>(d[units + j]);
      at.dx[2 * units + j] = static_cast<T>(dn);
      at.dinner[j] = static_cast<T>(dn * r);
    }
    back_through<T>(at.weight, d, dh, rounding);
    for (std::size_t j = 0; j < units; ++j) dh[j] += kept[j];
  }
};

template <typename T>
void gru_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  OperandPointers<const T> in(args.inputs);
  const T *gates = in.next(), *y = in.next(), *inner = in.next(), *weight = in.next();
  const T *h0 = in.next_if(form.initial), *mask = in.next_if(form.masked);
  const T *dy = in.next_if(form.dy), *dlast_h = in.next_if(form.dlast_h);
  OperandPointers<T> out(args.outputs);
  T *dx = out.next(), *dinner = out.next(), *dh0 = out.next_if(form.initial);
  const tensor::Shape& shape = args.inputs[1].type.shape;
  const std::int64_t steps = shape[1], units = shape[2], width = kGruGates * units;
  const StepOrder order{steps, form.reverse};
  GruGradients sample(units, form.rounding);
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    load_state<T>(dlast_h, b, sample.dh);
    const T* start = h0 != nullptr ? h0 + b * units : nullptr;
    for (std::int64_t index = steps - 1; index >= 0; --index) {
      const std::int64_t row = b * steps + order.at(index);
      add_row<T>(dy, row, sample.dh);
      if (mask != nullptr && mask[row] == T{0}) {
        std::fill_n(dx + row * width, width, T{0});
        std::fill_n(dinner + row * units, units, T{0});
        continue;
      }
      const T* before = state_before(order, index, y + b * steps * units, start, units);
      sample.step(GruStepGrad<T>{gates + row * width, before, inner + row * units, weight,
                                 dx + row * width, dinner + row * units});
    }
    store_state<T>(sample.dh, b, dh0);
  }
}

}  // namespace

autodiff::OpDef make_gru() {
  return {.name = "gru",
          .infer = infer_gru,
          .host = host_kernel<gru_host<float>, gru_host<double>>,
          .vjp = gru_vjp,
          .flops = gru_flops,
          .product = true,
          .in_place = true};
}

autodiff::OpDef make_gru_grad() {
  return {.name = "gru_grad",
          .infer = infer_gru_grad,
          .host = host_kernel<gru_grad_host<float>, gru_grad_host<double>>,
          .flops = gru_flops,
          .product = true,
          .in_place = true};
}

}  // namespace dlt::ops

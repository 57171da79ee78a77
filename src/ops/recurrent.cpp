// SPDX-License-Identifier: Apache-2.0
// recurrent_weight_grad, time_mask, and what the recurrent ops share.
#include "ops/recurrent.h"

#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

/// Input 0 is y; d has any width, or, with inner, three times its last size.
TypeList infer_recurrent_weight_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "recurrent_weight_grad";
  const RecurrentForm form(attrs);
  const bool inner = attrs.integer("inner") != 0;
  const RecurrentSizes sizes = recurrent_sizes(kOp, inputs, 1);
  expect_precision(kOp, attrs);
  if (inputs.size() < 2) rule_broken(kOp, "one input; want y and d");
  const std::int64_t width = inner ? 3 * sizes.units : inputs[1].shape.last();
  OperandRules(kOp, inputs)
      .expect("y", sizes.sequence(sizes.units))
      .expect("d", sizes.sequence(width))
      .expect_if(inner, "inner", sizes.sequence(sizes.units))
      .expect_if(form.initial, "h0", sizes.state())
      .finish();
  return {{{sizes.units, width}, inputs[0].dtype}};
}

template <typename T>
void recurrent_weight_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const RecurrentForm form(attrs);
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t batch = shape[0], steps = shape[1], units = shape[2];
  const std::int64_t width = args.outputs[0].type.shape[1];
  OperandPointers<const T> in(args.inputs);
  const T *y = in.next(), *d = in.next();
  const T* inner = in.next_if(attrs.integer("inner") != 0);
  const T* h0 = in.next_if(form.initial);
  T* dw = args.outputs[0].as<T>();
  const StepOrder order{steps, form.reverse};
  for (std::int64_t i = 0; i < units; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      const bool of_inner = inner != nullptr && j >= width - units;
      double sum = 0;
      for (std::int64_t b = 0; b < batch; ++b) {
        const T* start = h0 != nullptr ? h0 + b * units : nullptr;
        for (std::int64_t index = 0; index < steps; ++index) {
          const T* h = state_before(order, index, y + b * steps * units, start, units);
          const std::int64_t row = b * steps + order.at(index);
          const T factor = of_inner ? inner[row * units + j - (width - units)] : d[row * width + j];
          if (h != nullptr) sum += operand(h[i], form.rounding) * operand(factor, form.rounding);
        }
      }
      dw[i * width + j] = static_cast<T>(sum);
    }
  }
}

std::int64_t recurrent_weight_grad_flops(Types inputs, Types outputs, const Attrs&) {
  return 2 * inputs[0].shape[0] * inputs[0].shape[1] * outputs[0].shape.numel();
}

TypeList infer_time_mask(Types inputs, const Attrs&) {
  expect_inputs("time_mask", inputs, 1);
  expect_float("time_mask", "x", inputs[0]);
  expect_rank("time_mask", "x", inputs[0], "[B, T, n]");
  return {{{inputs[0].shape[0], inputs[0].shape[1]}, inputs[0].dtype}};
}

template <typename T>
void time_mask_host(const KernelArgs& args, const Attrs& attrs) {
  const auto value = static_cast<T>(attrs.number("value"));
  const Shape& shape = args.inputs[0].type.shape;
  const T* x = args.inputs[0].as<const T>();
  T* mask = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < shape.rows(); ++i) {
    const T* row = x + i * shape.last();
    mask[i] = std::all_of(row, row + shape.last(), [&](T number) { return number == value; })
                  ? T{0}
                  : T{1};
  }
}

}  // namespace

RecurrentForm::RecurrentForm(const Attrs& attrs)
    : initial(attrs.integer("initial") != 0),
      masked(attrs.integer("masked") != 0),
      reverse(attrs.integer("reverse") != 0),
      bias(attrs.integer("bias") != 0),
      dy(attrs.integer("dy") != 0),
      dlast_h(attrs.integer("dlast_h") != 0),
      dlast_c(attrs.integer("dlast_c") != 0),
      rounding(rounding_of(attrs)) {}

RecurrentSizes recurrent_sizes(std::string_view op, Types inputs, std::int64_t gates) {
  if (inputs.empty()) rule_broken(op, "no inputs; want [B, T, ...]");
  const tensor::TensorType& x = inputs[0];
  expect_float(op, "input 0", x);
  expect_rank(op, "input 0", x, "[B, T, n]");
  if (x.shape[2] % gates != 0) {
    rule_broken(op, cat("input 0 is ", x.text(), "; want a last size of ", gates, " x units"));
  }
  return {x.shape[0], x.shape[1], x.shape[2] / gates};
}

OperandRules& OperandRules::expect(std::string_view name, const Shape& shape) {
  if (next_ >= inputs_.size()) rule_broken(op_, cat(name, " is missing"));
  const tensor::TensorType want{shape, inputs_[0].dtype};
  const tensor::TensorType& got = inputs_[next_++];
  if (got != want) rule_broken(op_, cat(name, " is ", got.text(), "; want ", want.text()));
  return *this;
}

OperandRules& OperandRules::expect_if(bool present, std::string_view name, const Shape& shape) {
  return present ? expect(name, shape) : *this;
}

void OperandRules::finish() const { expect_inputs(op_, inputs_, next_); }

ValueId add_recurrent_weight_grad(autodiff::Graph& graph, const RecurrentWeightGrad& product) {
  std::vector<ValueId> inputs{product.y, product.d};
  Attrs attrs;
  if (product.inner.valid()) {
    inputs.push_back(product.inner);
    attrs.set("inner", kYes);
  }
  if (product.h0.valid()) {
    inputs.push_back(product.h0);
    attrs.set("initial", kYes);
  }
  if (product.reverse) attrs.set("reverse", kYes);
  return graph.add_one("recurrent_weight_grad", std::move(inputs), std::move(attrs));
}

autodiff::OpDef make_recurrent_weight_grad() {
  return {
      .name = "recurrent_weight_grad",
      .infer = infer_recurrent_weight_grad,
      .host = host_kernel<recurrent_weight_grad_host<float>, recurrent_weight_grad_host<double>>,
      .flops = recurrent_weight_grad_flops,
      .product = true};
}

autodiff::OpDef make_time_mask() {
  return {.name = "time_mask",
          .infer = infer_time_mask,
          .host = host_kernel<time_mask_host<float>, time_mask_host<double>>};
}

}  // namespace dlt::ops

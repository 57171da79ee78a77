// SPDX-License-Identifier: Apache-2.0
// Kernels of recurrent layers: which operand is which.
#include "backend/cpu/recurrent.h"

#include <utility>

#include "backend/cpu/prepare.h"
#include "backend/cpu/routines.h"
#include "tensor/spec_form.h"

namespace dlt::cpu {
namespace {

using tensor::all_f32;
using tensor::Attrs;
using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

bool is_set(const Attrs& attrs, const char* name) { return attrs.integer(name) != 0; }

/// Hands out operands one after the other, as docs/ops.md lists them.
class Operands {
 public:
  Operands(const KernelArgs& args, const Attrs& attrs) : args_(args), attrs_(attrs) {}
  const float* in() { return args_.inputs[next_in_++].as<const float>(); }
  float* out() { return args_.outputs[next_out_++].as<float>(); }
  const float* in_if(const char* name) { return is_set(attrs_, name) ? in() : nullptr; }
  float* out_if(const char* name) { return is_set(attrs_, name) ? out() : nullptr; }
  [[nodiscard]] float* scratch() const { return reinterpret_cast<float*>(args_.scratch); }

 private:
  const KernelArgs& args_;
  const Attrs& attrs_;
  std::size_t next_in_ = 0, next_out_ = 0;
};

struct RecurrentPlan {
  Attrs attrs;
  RecurrentSizes sizes;
  Isa isa = Isa::avx2;
  std::int64_t width = 0;  // recurrent_weight_grad: of d
};

/// bind reads a call's operands; routines are those of both instruction sets.
template <typename Call>
struct Form {
  Call (*bind)(const RecurrentPlan& plan, Operands& operands);
  void (*avx2)(const Call& call);
  void (*avx512)(const Call& call);
};

template <typename Call>
class RecurrentKernel final : public Kernel {
 public:
  RecurrentKernel(RecurrentPlan plan, const Form<Call>& form, std::int64_t scratch_floats)
      : plan_(std::move(plan)), form_(form), scratch_floats_(scratch_floats) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return scratch_floats_ * static_cast<std::int64_t>(sizeof(float));
  }
  void run(const KernelArgs& args) const override {
    Operands operands(args, plan_.attrs);
    const Call call = form_.bind(plan_, operands);
    plan_.isa == Isa::avx512 ? form_.avx512(call) : form_.avx2(call);
  }

 private:
  RecurrentPlan plan_;
  Form<Call> form_;
  std::int64_t scratch_floats_;
};

/// Most rows differ from the value in their first number.
class TimeMask final : public Kernel {
 public:
  explicit TimeMask(const KernelSpec& spec)
      : rows_(spec.inputs[0].shape.rows()),
        cols_(spec.inputs[0].shape.last()),
        value_(static_cast<float>(spec.attrs.number("value"))) {}
  void run(const KernelArgs& args) const override {
    const float* x = args.inputs[0].as<const float>();
    float* mask = args.outputs[0].as<float>();
    for (std::int64_t row = 0; row < rows_; ++row, x += cols_) {
      std::int64_t j = 0;
      while (j < cols_ && x[j] == value_) ++j;
      mask[row] = j < cols_ ? 1.0f : 0.0f;
    }
  }

 private:
  std::int64_t rows_, cols_;
  float value_;
};

/// Input 0 is [B, T, gates · H].
RecurrentPlan recurrent_plan(const KernelSpec& spec, std::int64_t gates, Isa isa) {
  const tensor::Shape& x = spec.inputs[0].shape;
  return {
      spec.attrs,
      {x[0], x[1], x[2] / gates, is_set(spec.attrs, "reverse"), prepare::precision_of(spec.attrs)},
      isa};
}

template <typename Call>
std::unique_ptr<Kernel> make_recurrent(const KernelSpec& spec, Isa isa, std::int64_t gates,
                                       const Form<Call>& form) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  RecurrentPlan plan = recurrent_plan(spec, gates, isa);
  const std::int64_t scratch = recurrent_scratch_floats(plan.sizes, gates);
  return std::make_unique<RecurrentKernel<Call>>(std::move(plan), form, scratch);
}

}  // namespace

std::unique_ptr<Kernel> make_lstm(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    LstmCall c{.sizes = plan.sizes};
    c.x = o.in();
    c.weight = o.in();
    c.h0 = o.in_if("initial");
    c.c0 = o.in_if("initial");
    c.mask = o.in_if("masked");
    c.gates = o.out();
    c.y = o.out();
    c.last_h = o.out();
    c.last_c = o.out();
    c.cells = o.out();
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<LstmCall>(spec, isa, 4, {bind, avx2::lstm, avx512::lstm});
}

std::unique_ptr<Kernel> make_lstm_grad(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    LstmGradCall c{.sizes = plan.sizes};
    c.gates = o.in();
    c.cells = o.in();
    c.weight = o.in();
    c.c0 = o.in_if("initial");
    c.mask = o.in_if("masked");
    c.dy = o.in_if("dy");
    c.dlast_h = o.in_if("dlast_h");
    c.dlast_c = o.in_if("dlast_c");
    c.dx = o.out();
    c.dh0 = o.out_if("initial");
    c.dc0 = o.out_if("initial");
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<LstmGradCall>(spec, isa, 4, {bind, avx2::lstm_grad, avx512::lstm_grad});
}

std::unique_ptr<Kernel> make_gru(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    GruCall c{.sizes = plan.sizes};
    c.x = o.in();
    c.weight = o.in();
    c.bias = o.in_if("bias");
    c.h0 = o.in_if("initial");
    c.mask = o.in_if("masked");
    c.gates = o.out();
    c.y = o.out();
    c.last_h = o.out();
    c.inner = o.out();
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<GruCall>(spec, isa, 3, {bind, avx2::gru, avx512::gru});
}

std::unique_ptr<Kernel> make_gru_grad(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    GruGradCall c{.sizes = plan.sizes};
    c.gates = o.in();
    c.y = o.in();
    c.inner = o.in();
    c.weight = o.in();
    c.h0 = o.in_if("initial");
    c.mask = o.in_if("masked");
    c.dy = o.in_if("dy");
    c.dlast_h = o.in_if("dlast_h");
    c.dx = o.out();
    c.dinner = o.out();
    c.dh0 = o.out_if("initial");
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<GruGradCall>(spec, isa, 3, {bind, avx2::gru_grad, avx512::gru_grad});
}

std::unique_ptr<Kernel> make_simple_rnn(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    SimpleRnnCall c{.sizes = plan.sizes, .relu = plan.attrs.word("activation") == "relu"};
    c.x = o.in();
    c.weight = o.in();
    c.h0 = o.in_if("initial");
    c.mask = o.in_if("masked");
    c.y = o.out();
    c.last_h = o.out();
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<SimpleRnnCall>(spec, isa, 1, {bind, avx2::simple_rnn, avx512::simple_rnn});
}

std::unique_ptr<Kernel> make_simple_rnn_grad(const KernelSpec& spec, Isa isa) {
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    SimpleRnnGradCall c{.sizes = plan.sizes, .relu = plan.attrs.word("activation") == "relu"};
    c.y = o.in();
    c.weight = o.in();
    c.mask = o.in_if("masked");
    c.dy = o.in_if("dy");
    c.dlast_h = o.in_if("dlast_h");
    c.dx = o.out();
    c.dh0 = o.out_if("initial");
    c.scratch = o.scratch();
    return c;
  };
  return make_recurrent<SimpleRnnGradCall>(spec, isa, 1,
                                           {bind, avx2::simple_rnn_grad, avx512::simple_rnn_grad});
}

std::unique_ptr<Kernel> make_recurrent_weight_grad(const KernelSpec& spec, Isa isa) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  const auto bind = [](const RecurrentPlan& plan, Operands& o) {
    RecurrentWeightGradCall c{.sizes = plan.sizes, .width = plan.width};
    c.y = o.in();
    c.d = o.in();
    c.inner = o.in_if("inner");
    c.h0 = o.in_if("initial");
    c.dweight = o.out();
    c.scratch = o.scratch();
    return c;
  };
  RecurrentPlan plan = recurrent_plan(spec, 1, isa);
  plan.width = spec.outputs[0].shape.last();
  const std::int64_t scratch = gemm_scratch_floats(
      plan.sizes.units, plan.width, plan.sizes.batch * plan.sizes.steps, plan.sizes.precision);
  const Form<RecurrentWeightGradCall> form{bind, avx2::recurrent_weight_grad,
                                           avx512::recurrent_weight_grad};
  return std::make_unique<RecurrentKernel<RecurrentWeightGradCall>>(std::move(plan), form, scratch);
}

std::unique_ptr<Kernel> make_time_mask(const KernelSpec& spec, Isa /*isa*/) {
  if (!all_f32(spec.inputs)) return nullptr;
  return std::make_unique<TimeMask>(spec);
}

}  // namespace dlt::cpu

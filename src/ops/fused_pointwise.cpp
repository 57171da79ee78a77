// SPDX-License-Identifier: Apache-2.0
// Several element-wise ops as one, made by the pass fuse_pointwise behind the backward pass.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/rules.h"
#include "tensor/pointwise_program.h"

namespace dlt::ops {
namespace {

using autodiff::OpDef;
using autodiff::Pointwise;
using tensor::Attrs;
using tensor::Kernel;
using tensor::KernelArgs;
using tensor::PointwiseProgram;
using tensor::PointwiseStep;

constexpr std::size_t kMaxStepInputs = 2;

OpDef op_named(std::string_view name) {
#define DLT_OP(op) \
  if (name == #op) return make_##op();
#include "ops/ops.def"
#undef DLT_OP
  throw Error(Exit::internal, cat("fused_pointwise: no op is called ", printable(name)));
}

PointwiseProgram program_of(const Attrs& attrs) {
  return PointwiseProgram::parse(attrs.word("program"));
}

/// The types of all registers, by the rules of the steps' ops.
TypeList register_types(const PointwiseProgram& program, Types inputs) {
  DLT_CHECK(static_cast<int>(inputs.size()) == program.num_inputs, "fused_pointwise: inputs");
  TypeList types(inputs.begin(), inputs.end());
  for (const PointwiseStep& step : program.steps) {
    const OpDef def = op_named(step.op);
    DLT_CHECK((def.pointwise != Pointwise::no || def.alias) && step.inputs.size() <= kMaxStepInputs,
              cat("fused_pointwise: ", step.op));
    TypeList operands;
    for (const int input : step.inputs) operands.push_back(types[static_cast<std::size_t>(input)]);
    types.push_back(def.infer(operands, step.attrs)[0]);
  }
  return types;
}

TypeList infer_fused(Types inputs, const Attrs& attrs) {
  const PointwiseProgram program = program_of(attrs);
  const TypeList types = register_types(program, inputs);
  TypeList outputs;
  for (const int output : program.outputs) {
    outputs.push_back(types[static_cast<std::size_t>(output)]);
  }
  return outputs;
}

std::int64_t fused_flops(Types inputs, Types, const Attrs& attrs) {
  const PointwiseProgram program = program_of(attrs);
  const TypeList types = register_types(program, inputs);
  std::int64_t flops = 0;
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    if (program.steps[i].op == "reshape") continue;
    flops += types[inputs.size() + i].shape.numel();
  }
  return flops;
}

/// Runs the host kernel of each step over whole tensors. What a step makes lies in scratch, since
/// outputs may lie over inputs that later steps read.
class FusedHost final : public Kernel {
 public:
  explicit FusedHost(const tensor::KernelSpec& spec)
      : program_(program_of(spec.attrs)), types_(register_types(program_, spec.inputs)) {
    const auto first = static_cast<std::size_t>(program_.num_inputs);
    for (std::size_t i = 0; i < program_.steps.size(); ++i) {
      const PointwiseStep& step = program_.steps[i];
      const OpDef def = op_named(step.op);
      TypeList operands;
      for (const int input : step.inputs) operands.push_back(type(input));
      const std::array<tensor::TensorType, 1> result{types_[first + i]};
      kernels_.push_back(
          def.alias ? nullptr
                    : def.host({.inputs = operands, .outputs = result, .attrs = step.attrs}));
      offsets_.push_back(scratch_bytes_);
      if (!def.alias) scratch_bytes_ += (result[0].bytes() + 63) / 64 * 64;
    }
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override { return scratch_bytes_; }
  void run(const KernelArgs& args) const override {
    for (std::size_t i = 0; i < kernels_.size(); ++i) {
      if (kernels_[i] == nullptr) continue;
      const std::vector<int>& inputs = program_.steps[i].inputs;
      std::array<tensor::View, kMaxStepInputs> operands;
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        operands[k] = {memory(args, inputs[k]), type(inputs[k])};
      }
      const int self = program_.num_inputs + static_cast<int>(i);
      const std::array<tensor::View, 1> result{tensor::View{memory(args, self), type(self)}};
      kernels_[i]->run({.inputs = {operands.data(), inputs.size()},
                        .outputs = result,
                        .scratch = nullptr,
                        .run = args.run});
    }
    for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
      const auto size = static_cast<std::size_t>(args.outputs[k].type.bytes());
      if (size > 0) {
        std::memcpy(args.outputs[k].data, memory(args, program_.outputs[k]), size);
      }
    }
  }

 private:
  [[nodiscard]] const tensor::TensorType& type(int index) const {
    return types_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] void* memory(const KernelArgs& args, int index) const {
    if (index < program_.num_inputs) return args.inputs[static_cast<std::size_t>(index)].data;
    const auto step = static_cast<std::size_t>(index - program_.num_inputs);
    if (kernels_[step] == nullptr) return memory(args, program_.steps[step].inputs[0]);
    return args.scratch + offsets_[step];
  }

  PointwiseProgram program_;
  TypeList types_;
  std::vector<std::unique_ptr<Kernel>> kernels_;  // null: the same memory under another shape
  std::vector<std::int64_t> offsets_;
  std::int64_t scratch_bytes_ = 0;
};

std::unique_ptr<Kernel> fused_kernel(const tensor::KernelSpec& spec) {
  const DType dtype = spec.outputs[0].dtype;
  if (dtype != DType::f32 && dtype != DType::f64) return nullptr;
  return std::make_unique<FusedHost>(spec);
}

}  // namespace

autodiff::OpDef make_fused_pointwise() {
  return {.name = "fused_pointwise",
          .infer = infer_fused,
          .host = fused_kernel,
          .flops = fused_flops,
          .in_place = true,
          .in_place_all = true,
          .random = true};
}

}  // namespace dlt::ops

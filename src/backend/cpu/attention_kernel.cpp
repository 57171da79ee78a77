// SPDX-License-Identifier: Apache-2.0
// Kernels of attention and attention_grad: what the routines of one instruction set need.
#include <cmath>
#include <string>

#include "backend/cpu/attention.h"
#include "backend/cpu/routines.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelSpec;

constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));

AttentionArgs attention_plan(const KernelSpec& spec) {
  AttentionArgs a;
  const tensor::Shape& qkv = spec.inputs[0].shape;
  a.batch = qkv[0];
  a.length = qkv[1];
  a.heads = spec.attrs.integer("heads", 1);
  a.kv_heads = spec.attrs.integer("kv_heads", a.heads);
  a.head_size = qkv[2] / (a.heads + 2 * a.kv_heads);
  a.causal = spec.attrs.integer("causal") != 0;
  const double rate = spec.attrs.number("rate");
  a.threshold = static_cast<std::uint32_t>(std::ceil(rate * 0x1.0p24));
  a.keep_scale = static_cast<float>(1.0 / (1.0 - rate));
  a.op = static_cast<std::uint64_t>(spec.attrs.integer("op"));
  return a;
}

bool is_f32(const KernelSpec& spec) {
  for (const tensor::TensorType& type : spec.inputs) {
    if (type.dtype != DType::f32) return false;
  }
  return true;
}

using AttentionRoutine = void (*)(const AttentionArgs& a);

class AttentionKernel : public tensor::Kernel {
 public:
  AttentionKernel(AttentionRoutine routine, const AttentionArgs& plan, std::int64_t scratch_floats)
      : plan_(plan), routine_(routine), scratch_bytes_(scratch_floats * kFloatBytes) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return scratch_bytes_; }

 protected:
  void run_with(AttentionArgs a, const KernelArgs& args) const {
    a.qkv = args.inputs[0].as<const float>();
    a.scratch = reinterpret_cast<float*>(args.scratch);
    a.seed = args.run.seed;
    a.epoch = args.run.epoch;
    if (a.threshold != 0) {
      DLT_CHECK(static_cast<std::int64_t>(args.run.sample_ids.size()) >= a.batch,
                cat(args.run.sample_ids.size(), " sample ids for ", a.batch, " samples"));
      a.sample_ids = args.run.sample_ids.data();
    }
    routine_(a);
  }
  AttentionArgs plan_;

 private:
  AttentionRoutine routine_;
  std::int64_t scratch_bytes_;
};

class Forward final : public AttentionKernel {
 public:
  using AttentionKernel::AttentionKernel;
  void run(const KernelArgs& args) const override {
    AttentionArgs a = plan_;
    if (args.inputs.size() > 1) a.mask = args.inputs[1].as<const float>();
    a.y = args.outputs[0].as<float>();
    a.lse = args.outputs[1].as<float>();
    run_with(a, args);
  }
};

class Backward final : public AttentionKernel {
 public:
  using AttentionKernel::AttentionKernel;
  void run(const KernelArgs& args) const override {
    AttentionArgs a = plan_;
    a.y = args.inputs[1].as<float>();    // read only
    a.lse = args.inputs[2].as<float>();  // read only
    a.dy = args.inputs[3].as<const float>();
    if (args.inputs.size() > 4) a.mask = args.inputs[4].as<const float>();
    a.dqkv = args.outputs[0].as<float>();
    run_with(a, args);
  }
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_attention(const KernelSpec& spec, Isa isa) {
  if (!is_f32(spec)) return nullptr;
  const AttentionArgs plan = attention_plan(spec);
  return std::make_unique<Forward>(isa == Isa::avx512 ? avx512::attention : avx2::attention, plan,
                                   attention_scratch_floats(plan.length, plan.head_size));
}

std::unique_ptr<tensor::Kernel> make_attention_grad(const KernelSpec& spec, Isa isa) {
  if (!is_f32(spec)) return nullptr;
  const AttentionArgs plan = attention_plan(spec);
  return std::make_unique<Backward>(
      isa == Isa::avx512 ? avx512::attention_grad : avx2::attention_grad, plan,
      attention_grad_scratch_floats(plan.length, plan.head_size, plan.group()));
}

}  // namespace dlt::cpu

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/bf16_unit.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/prepare.h"
#include "backend/cpu/routines.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/backend.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelFactory;
using tensor::KernelSpec;

/// A routine with its sizes and attributes; a run adds the memory.
class RoutineKernel final : public tensor::Kernel {
 public:
  RoutineKernel(Routine routine, const Plan& plan, const KernelSpec& spec)
      : routine_(routine),
        plan_(plan),
        num_inputs_(spec.inputs.size()),
        num_outputs_(spec.outputs.size()) {
    DLT_CHECK(num_inputs_ <= Call::kMaxInputs && num_outputs_ <= Call::kMaxOutputs,
              "too many operands");
    if (!plan_.table.empty()) plan_.call.table = plan_.table.data();
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override { return plan_.scratch_bytes; }
  [[nodiscard]] std::int64_t kept_bytes() const override { return plan_.kept_bytes; }
  void run(const KernelArgs& args) const override {
    DLT_CHECK(args.inputs.size() == num_inputs_ && args.outputs.size() == num_outputs_,
              "other operands than in the spec");
    Call call = plan_.call;
    for (std::size_t i = 0; i < num_inputs_; ++i) call.in[i] = args.inputs[i].data;
    for (std::size_t i = 0; i < num_outputs_; ++i) call.out[i] = args.outputs[i].data;
    if (call.flat) call.cols = args.inputs[0].numel();
    if (call.by_sample) {
      DLT_CHECK(static_cast<std::int64_t>(args.run.sample_ids.size()) >= call.rows,
                cat(args.run.sample_ids.size(), " sample ids for ", call.rows, " samples"));
      call.sample_ids = args.run.sample_ids.data();
    }
    call.seed = args.run.seed;
    call.epoch = args.run.epoch;
    call.scalars = args.run.scalars.data();
    call.scratch = reinterpret_cast<float*>(args.scratch);
    call.kept = reinterpret_cast<float*>(args.kept);
    call.kept_valid = args.kept_valid;
    routine_(call);
  }

 private:
  Routine routine_;
  Plan plan_;
  std::size_t num_inputs_, num_outputs_;
};

template <Routine routine, prepare::Prepare make_plan>
std::unique_ptr<tensor::Kernel> make_kernel(const KernelSpec& spec) {
  Plan plan;
  if (!make_plan(spec, plan)) return nullptr;
  return std::make_unique<RoutineKernel>(routine, plan, spec);
}

template <std::unique_ptr<tensor::Kernel> (*make)(const KernelSpec&, Isa), Isa isa>
std::unique_ptr<tensor::Kernel> make_for(const KernelSpec& spec) {
  return make(spec, isa);
}

struct Entry {
  std::string_view name;
  tensor::HostKernelFactory factory;
};

#define DLT_KERNEL(name, form) Entry{#name, make_kernel<avx2::run_##name, prepare::form>},
#define DLT_FACTORY(name) Entry{#name, make_for<make_##name, Isa::avx2>},
constexpr std::array kAvx2 = {
#include "backend/cpu/kernels.def"
};
#undef DLT_FACTORY
#undef DLT_KERNEL
#define DLT_KERNEL(name, form) Entry{#name, make_kernel<avx512::run_##name, prepare::form>},
#define DLT_FACTORY(name) Entry{#name, make_for<make_##name, Isa::avx512>},
constexpr std::array kAvx512 = {
#include "backend/cpu/kernels.def"
};
#undef DLT_FACTORY
#undef DLT_KERNEL

class CpuBackend final : public tensor::Backend {
 public:
  CpuBackend(std::string_view isa, std::span<const Entry> entries) : isa_(isa), entries_(entries) {}
  [[nodiscard]] std::string_view name() const override { return "cpu"; }
  [[nodiscard]] std::string description() const override {
    const Bf16Unit unit = isa_ == "avx512" ? bf16_unit() : Bf16Unit::none;
    return cat(isa_, ", bf16 products by ", unit == Bf16Unit::none ? "emulation" : cpu::name(unit),
               ", ", onednn_version());
  }
  [[nodiscard]] tensor::Storage allocate(std::int64_t num_bytes) override {
    return tensor::Storage::allocate(num_bytes);
  }
  [[nodiscard]] KernelFactory find(std::string_view kernel) const override {
    const auto found =
        std::lower_bound(entries_.begin(), entries_.end(), kernel,
                         [](const Entry& entry, std::string_view key) { return entry.name < key; });
    if (found == entries_.end() || found->name != kernel) return nullptr;
    return [make = found->factory](const KernelSpec& spec) {
      // No processor multiplies fp16 faster: the ops' own kernels do it.
      return spec.attrs.word("precision") == "fp16" ? nullptr : make(spec);
    };
  }
  [[nodiscard]] std::vector<std::string> kernels() const override {
    std::vector<std::string> names;
    for (const Entry& entry : entries_) names.emplace_back(entry.name);
    return names;
  }
  void enter_thread() const override { onednn_enter_thread(); }

 private:
  std::string isa_;
  std::span<const Entry> entries_;
};

}  // namespace
}  // namespace dlt::cpu

namespace dlt::tensor {

std::unique_ptr<Backend> make_cpu_backend(std::string_view isa) {
  const CpuFeatures cpu = cpu_features();
  const bool has_avx2 = cpu.avx2 && cpu.fma && cpu.f16c;
  const auto lacks = [&](std::string_view what) {
    return Error(Exit::unavailable, cat("cpu: this processor (", cpu.model, ") lacks ", what),
                 "the kernels need an x86-64-v3 processor: Intel since 2013, AMD since 2015");
  };
  DLT_CHECK(isa == "auto" || isa == "avx2" || isa == "avx512", cat("instruction set ", isa));
  if (!has_avx2) throw lacks("AVX2, FMA or F16C");
  if (isa == "avx512" && !cpu.avx512) throw lacks("AVX-512 (F, BW, DQ, VL)");
  if (isa == "avx2" || !cpu.avx512) return std::make_unique<cpu::CpuBackend>("avx2", cpu::kAvx2);
  return std::make_unique<cpu::CpuBackend>("avx512", cpu::kAvx512);
}

}  // namespace dlt::tensor

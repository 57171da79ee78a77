// SPDX-License-Identifier: Apache-2.0
// A kernel made of a plan and a routine over it.
#pragma once

#include <memory>

#include "backend/cpu/planned.h"
#include "backend/cpu/routines.h"
#include "base/error.h"
#include "tensor/spec_form.h"

namespace dlt::cpu {

template <typename Plan>
class PlannedKernel final : public tensor::Kernel {
 public:
  using Run = void (*)(const Plan&, const Memory&);
  PlannedKernel(Run routine, const Plan& plan, std::int64_t scratch_floats)
      : run_(routine), plan_(plan), scratch_bytes_(scratch_floats * 4) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return scratch_bytes_; }
  void run(const tensor::KernelArgs& args) const override {
    DLT_CHECK(
        args.inputs.size() <= Memory::kMaxInputs && args.outputs.size() <= Memory::kMaxOutputs,
        "too many operands");
    Memory memory;
    for (std::size_t i = 0; i < args.inputs.size(); ++i) memory.in[i] = args.inputs[i].data;
    for (std::size_t i = 0; i < args.outputs.size(); ++i) memory.out[i] = args.outputs[i].data;
    memory.scratch = reinterpret_cast<float*>(args.scratch);
    run_(plan_, memory);
  }

 private:
  Run run_;
  Plan plan_;
  std::int64_t scratch_bytes_;
};

using tensor::all_f32;

}  // namespace dlt::cpu

// SPDX-License-Identifier: Apache-2.0
// Element-wise ops as one pass over memory: block after block, each step's own routine runs on a
// block that the innermost cache holds. So the bits are those of the steps one by one.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/cpu/planned_kernel.h"
#include "backend/cpu/prepare.h"
#include "backend/cpu/routines.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/pointwise_program.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::PointwiseProgram;
using tensor::PointwiseStep;

constexpr std::int64_t kBlock = 1024;  // floats; a multiple of what dropout draws at once
constexpr std::size_t kMaxRegisters = 32, kMaxSteps = 16, kMaxOutputs = 4;

struct StepDef {
  std::string_view op;
  Routine avx2, avx512;
  prepare::Prepare prepare;
};
#define DLT_KERNEL(name, form) StepDef{#name, avx2::run_##name, avx512::run_##name, prepare::form},
#define DLT_FACTORY(name)
constexpr std::array kStepDefs = {
#include "backend/cpu/kernels.def"
};
#undef DLT_FACTORY
#undef DLT_KERNEL

const StepDef& find_step(std::string_view op) {
  // Its vector is an operand that repeats, the rest is a sum.
  if (op == "bias_add") op = "add";
  const auto* const found = std::find_if(kStepDefs.begin(), kStepDefs.end(),
                                         [&](const StepDef& def) { return def.op == op; });
  DLT_CHECK(found != kStepDefs.end(), cat("fused_pointwise: ", op));
  return *found;
}

/// Where a register's numbers are in a block.
enum class Kind : std::uint8_t {
  input,     // in an input, at the block's place
  repeated,  // in scratch: a vector written out so often that a block finds it in one piece
  block,     // in scratch, this block's alone
  output,    // in an output, at the block's place
};

struct Register {
  Kind kind = Kind::input;
  int index = 0;            // of the input or output
  std::int64_t offset = 0;  // of scratch kinds, in floats
  std::int64_t period = 0;  // repeated
  int last_read = -1;       // step, -1: never
};

struct Step {
  Routine routine = nullptr;
  Call call;
  int inputs[2] = {-1, -1};
  int result = 0;
};

class FusedPointwise final : public tensor::Kernel {
 public:
  FusedPointwise(const KernelSpec& spec, Isa isa)
      : numel_(spec.outputs[0].shape.numel()), block_(kBlock) {
    const PointwiseProgram program = PointwiseProgram::parse(spec.attrs.word("program"));
    for (int i = 0; i < program.num_inputs; ++i) {
      names_.push_back(i);
      registers_.push_back({.kind = Kind::input, .index = i});
    }
    std::vector<tensor::TensorType> types(spec.inputs.begin(), spec.inputs.end());
    for (const PointwiseStep& step : program.steps) add_step(step, types, isa);
    for (std::size_t k = 0; k < program.outputs.size(); ++k) {
      const int made = names_[static_cast<std::size_t>(program.outputs[k])];
      outputs_.push_back({made, step_of(made)});
      DLT_CHECK(outputs_.back().step >= 0, "fused_pointwise: an output that no step makes");
    }
    DLT_CHECK(registers_.size() <= kMaxRegisters && steps_.size() <= kMaxSteps &&
                  outputs_.size() <= kMaxOutputs,
              "fused_pointwise: too long a program");
    place_registers();
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override { return scratch_floats_ * 4; }

  void run(const KernelArgs& args) const override {
    std::array<Step, kMaxSteps> steps;
    std::copy(steps_.begin(), steps_.end(), steps.begin());
    std::array<Register, kMaxRegisters> registers;
    std::copy(registers_.begin(), registers_.end(), registers.begin());
    auto* scratch = reinterpret_cast<float*>(args.scratch);
    write_repeated(args, scratch);
    std::array<bool, kMaxOutputs> copied{};
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      copied[k] = is_read_later(args, k) || written_by_another(registers.data(), k);
      if (copied[k]) continue;
      Register& made = registers[static_cast<std::size_t>(outputs_[k].made)];
      made.kind = Kind::output;
      made.index = static_cast<int>(k);
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      steps[i].call.seed = args.run.seed;
      steps[i].call.epoch = args.run.epoch;
      if (!steps[i].call.by_sample) continue;
      DLT_CHECK(static_cast<std::int64_t>(args.run.sample_ids.size()) >= numel_ / sample_,
                cat(args.run.sample_ids.size(), " sample ids for ", numel_ / sample_, " samples"));
    }
    for (std::int64_t start = 0; start < numel_;) {
      const std::int64_t count = block_at(start);
      const auto memory = [&](int index) -> float* {
        const Register& r = registers[static_cast<std::size_t>(index)];
        switch (r.kind) {
          case Kind::input:
            return args.inputs[static_cast<std::size_t>(r.index)].as<float>() + start;
          case Kind::output:
            return args.outputs[static_cast<std::size_t>(r.index)].as<float>() + start;
          case Kind::repeated:
            return scratch + r.offset + start % r.period;
          case Kind::block:
            return scratch + r.offset;
        }
        return nullptr;
      };
      for (std::size_t i = 0; i < steps_.size(); ++i) {
        Call& call = steps[i].call;
        for (int k = 0; k < 2 && steps[i].inputs[k] >= 0; ++k) {
          call.in[k] = memory(steps[i].inputs[k]);
        }
        call.out[0] = memory(steps[i].result);
        set_size(call, args, start, count);
        steps[i].routine(call);
      }
      for (std::size_t k = 0; k < outputs_.size(); ++k) {
        if (!copied[k]) continue;
        std::memcpy(args.outputs[k].as<float>() + start, memory(outputs_[k].made),
                    static_cast<std::size_t>(count) * sizeof(float));
      }
      start += count;
    }
  }

 private:
  struct Output {
    int made;  // register
    int step;
  };

  void add_step(const PointwiseStep& step, std::vector<tensor::TensorType>& types, Isa isa) {
    const auto operand = [&](std::size_t k) { return static_cast<std::size_t>(step.inputs[k]); };
    if (step.op == "reshape") {
      names_.push_back(names_[operand(0)]);
      types.push_back({tensor::Shape(step.attrs.integers("shape")), types[operand(0)].dtype});
      return;
    }
    const StepDef& def = find_step(step.op);
    const auto self = static_cast<int>(registers_.size());
    Step made{.routine = isa == Isa::avx2 ? def.avx2 : def.avx512, .call = {}, .result = self};
    const std::array<tensor::TensorType, 1> type{types[operand(0)]};
    Plan plan;
    DLT_CHECK(step.inputs.size() <= 2, step.op);
    const bool served = def.prepare({.inputs = type, .outputs = type, .attrs = step.attrs}, plan);
    DLT_CHECK(served && plan.scratch_bytes == 0, step.op);
    made.call = plan.call;
    if (made.call.by_sample) set_sample(plan.call.cols);
    for (std::size_t k = 0; k < step.inputs.size(); ++k) {
      made.inputs[k] = names_[operand(k)];
      Register& source = registers_[static_cast<std::size_t>(made.inputs[k])];
      source.last_read = static_cast<int>(steps_.size());
      if (step.op != "bias_add" || k != 1 || source.kind != Kind::input) continue;
      source.kind = Kind::repeated;
      source.period = types[operand(1)].shape.numel();
    }
    steps_.push_back(made);
    registers_.push_back({.kind = Kind::block});
    names_.push_back(self);
    types.push_back(type[0]);
  }

  /// Blocks lie within a sample, or hold whole ones.
  void set_sample(std::int64_t sample) {
    sample_ = sample;
    if (sample > 0 && sample < kBlock) block_ = kBlock / sample * sample;
  }

  [[nodiscard]] std::int64_t block_at(std::int64_t start) const {
    std::int64_t end = std::min(start + block_, numel_);
    if (sample_ > block_) end = std::min(end, (start / sample_ + 1) * sample_);
    return end - start;
  }

  void set_size(Call& call, const KernelArgs& args, std::int64_t start, std::int64_t count) const {
    call.cols = count;
    if (!call.by_sample) return;
    const bool part = sample_ > block_;
    call.rows = part ? 1 : count / sample_;
    call.cols = part ? count : sample_;
    call.first = part ? start % sample_ : 0;
    call.sample_ids = args.run.sample_ids.data() + start / sample_;
  }

  [[nodiscard]] int step_of(int made) const {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].result == made) return static_cast<int>(i);
    }
    return -1;
  }

  /// Blocks of scratch for what steps make, used again once read for the last time.
  void place_registers() {
    for (Register& r : registers_) {
      if (r.kind != Kind::repeated) continue;
      r.offset = scratch_floats_;
      scratch_floats_ += (r.period + kBlock + 15) / 16 * 16;
    }
    std::vector<std::int64_t> free;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      Register& made = registers_[static_cast<std::size_t>(steps_[i].result)];
      if (free.empty()) {
        free.push_back(scratch_floats_);
        scratch_floats_ += kBlock;
      }
      made.offset = free.back();
      free.pop_back();
      const auto stays = [&](int index) {
        return std::any_of(outputs_.begin(), outputs_.end(),
                           [&](const Output& output) { return output.made == index; });
      };
      for (std::size_t r = 0; r < registers_.size(); ++r) {
        const bool done = registers_[r].kind == Kind::block &&
                          registers_[r].last_read == static_cast<int>(i) &&
                          !stays(static_cast<int>(r));
        if (done) free.push_back(registers_[r].offset);
      }
    }
  }

  void write_repeated(const KernelArgs& args, float* scratch) const {
    for (const Register& r : registers_) {
      if (r.kind != Kind::repeated || r.period == 0) continue;
      const auto* x = args.inputs[static_cast<std::size_t>(r.index)].as<const float>();
      for (std::int64_t i = 0; i < r.period + kBlock; ++i) scratch[r.offset + i] = x[i % r.period];
    }
  }

  /// Whether the output lies over an input that a step behind its own reads.
  [[nodiscard]] bool is_read_later(const KernelArgs& args, std::size_t output) const {
    for (std::size_t i = 0; i < registers_.size(); ++i) {
      const Register& r = registers_[i];
      if (r.kind == Kind::input && r.last_read > outputs_[output].step &&
          args.inputs[static_cast<std::size_t>(r.index)].data == args.outputs[output].data) {
        return true;
      }
    }
    return false;
  }

  /// A register that two outputs show is written to the first.
  [[nodiscard]] bool written_by_another(const Register* registers, std::size_t output) const {
    return registers[static_cast<std::size_t>(outputs_[output].made)].kind == Kind::output;
  }

  std::int64_t numel_;
  std::int64_t block_;
  std::int64_t sample_ = 0;  // elements of a sample, where a step draws random numbers
  std::vector<int> names_;   // register of the program -> register here: reshapes make none
  std::vector<Register> registers_;
  std::vector<Step> steps_;
  std::vector<Output> outputs_;
  std::int64_t scratch_floats_ = 0;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_fused_pointwise(const KernelSpec& spec, Isa isa) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  return std::make_unique<FusedPointwise>(spec, isa);
}

}  // namespace dlt::cpu

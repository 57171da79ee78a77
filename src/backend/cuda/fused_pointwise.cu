// SPDX-License-Identifier: Apache-2.0
// Element-wise ops as one pass over memory: each thread takes four elements through all steps. What
// a step makes stays in registers for the next one, and in shared memory for those behind it.
// Outputs are written when all inputs have been read, so that they may lie over them.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/divider.h"
#include "backend/cuda/dropout.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/pointwise_steps.h"
#include "backend/cuda/queue.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/pointwise_program.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

using tensor::PointwiseProgram;
using tensor::PointwiseStep;

constexpr int kFusedThreads = 128;
constexpr int kMaxInputs = 8, kMaxSteps = 16, kMaxOutputs = 4;

enum class Code : std::int16_t {
#define DLT_STEP(name, Step, inputs) name,
#include "backend/cuda/pointwise_steps.def"
#undef DLT_STEP
  bias_add,  // b is a vector that repeats
  dropout,
};

/// Where an operand or output is: 0 and up an input, kMaxInputs and up a slot of shared memory.
using Place = std::int16_t;
constexpr Place kLast = -1;  // what the step before made
constexpr Place kNone = -2;

struct Step {
  Code code = Code::abs;
  Place a = kLast, b = kNone;
  std::int16_t slot = -1;  // the result's, if a step behind the next or an output wants it
  StepNumbers numbers;
  std::int64_t period = 1;  // of b, bias_add
  Divider by_period{1};
  Dropout dropout;
};

struct FusedCall {
  const float* in[kMaxInputs];
  float* out[kMaxOutputs];
  Step steps[kMaxSteps];
  Place results[kMaxOutputs];
  int num_steps, num_outputs;
  std::int64_t count;
  bool aligned;
  const tensor::DeviceRun* run;
};

__device__ inline Four operand(const FusedCall& c, Place place, const Four& last,
                               const float4* slots, std::int64_t group) {
  if (place == kNone) return {};
  if (place == kLast) return last;
  if (place < kMaxInputs) return load_four(c.in[place], group, c.count, c.aligned);
  const float4 v = slots[(place - kMaxInputs) * kFusedThreads + static_cast<int>(threadIdx.x)];
  return {{v.x, v.y, v.z, v.w}};
}

__device__ inline Four add_vector(const Four& a, const float* vector, const Step& step,
                                  std::int64_t first) {
  std::int64_t at = first;
  (void)step.by_period.take(at);
  Four sum;
  for (int u = 0; u < 4; ++u) {
    sum.x[u] = a.x[u] + vector[at];
    if (++at == step.period) at = 0;
  }
  return sum;
}

template <typename Op>
__device__ inline Four each(const Four& a, const Four& b, const StepNumbers& numbers) {
  Four y;
  for (int u = 0; u < 4; ++u) y.x[u] = Op::apply(a.x[u], b.x[u], numbers);
  return y;
}

__global__ void __launch_bounds__(kFusedThreads) fused_kernel(const FusedCall c) {
  auto* slots = dynamic_shared<float4>();
  const std::int64_t groups = (c.count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    Four last{};
    for (int i = 0; i < c.num_steps; ++i) {
      const Step& step = c.steps[i];
      const Four a = operand(c, step.a, last, slots, g);
      const bool repeats = step.code == Code::bias_add;
      const Four b = operand(c, repeats ? kNone : step.b, last, slots, g);
      switch (step.code) {
#define DLT_STEP(name, Op, inputs)       \
  case Code::name:                       \
    last = each<Op>(a, b, step.numbers); \
    break;
#include "backend/cuda/pointwise_steps.def"
#undef DLT_STEP
        case Code::bias_add:
          last = add_vector(a, c.in[step.b], step, 4 * g);
          break;
        case Code::dropout:
          last = step.dropout.apply(a, 4 * g, c.count, *c.run);
          break;
      }
      if (step.slot >= 0) {
        slots[step.slot * kFusedThreads + static_cast<int>(threadIdx.x)] =
            make_float4(last.x[0], last.x[1], last.x[2], last.x[3]);
      }
    }
    for (int k = 0; k < c.num_outputs; ++k) {
      store_four(c.out[k], operand(c, c.results[k], last, slots, g), g, c.count, c.aligned);
    }
  }
}

Code code_of(std::string_view op) {
#define DLT_STEP(name, Step, inputs) \
  if (op == #name) return Code::name;
#include "backend/cuda/pointwise_steps.def"
#undef DLT_STEP
  throw Error(Exit::internal, cat("fused_pointwise: ", std::string(op)));
}

/// A program as the kernel wants it.
class Plan {
 public:
  explicit Plan(const tensor::KernelSpec& spec);
  [[nodiscard]] const FusedCall& call() const { return call_; }
  [[nodiscard]] int num_slots() const { return num_slots_; }
  /// Of a leaf, if a step draws random numbers, else 0.
  [[nodiscard]] std::int64_t samples() const { return samples_; }

 private:
  /// A register of the program: an input, or what a step made.
  struct Register {
    int input = -1, step = -1;
    int last_read = -1;  // step; kMaxSteps: an output
  };

  void add(const PointwiseStep& step);
  void set_numbers(const PointwiseStep& step, const tensor::TensorType& type, Step& made);
  void place_results(const PointwiseProgram& program);
  [[nodiscard]] Register& at(int index) {
    return registers_[names_[static_cast<std::size_t>(index)]];
  }
  [[nodiscard]] const tensor::Shape& shape(int index) const {
    return shapes_[static_cast<std::size_t>(index)];
  }

  FusedCall call_{};
  std::vector<std::size_t> names_;  // register of the program -> register here: reshapes make none
  std::vector<tensor::Shape> shapes_;  // of registers of the program
  std::vector<Register> registers_;
  std::array<std::array<int, 2>, kMaxSteps> operands_{};  // registers here, -1: none
  int num_slots_ = 0;
  std::int64_t samples_ = 0;
};

Plan::Plan(const tensor::KernelSpec& spec) {
  const PointwiseProgram program = PointwiseProgram::parse(spec.attrs.word("program"));
  DLT_CHECK(program.num_inputs <= kMaxInputs && program.outputs.size() <= kMaxOutputs,
            "fused_pointwise: too many operands");
  call_.count = spec.outputs[0].shape.numel();
  call_.num_outputs = static_cast<int>(program.outputs.size());
  for (int i = 0; i < program.num_inputs; ++i) {
    names_.push_back(registers_.size());
    shapes_.push_back(spec.inputs[static_cast<std::size_t>(i)].shape);
    registers_.push_back({.input = i});
  }
  for (const PointwiseStep& step : program.steps) add(step);
  place_results(program);
}

void Plan::add(const PointwiseStep& step) {
  if (step.op == "reshape") {
    names_.push_back(names_[static_cast<std::size_t>(step.inputs[0])]);
    shapes_.emplace_back(step.attrs.integers("shape"));
    return;
  }
  DLT_CHECK(call_.num_steps < kMaxSteps && step.inputs.size() <= 2, "fused_pointwise: too long");
  const int self = call_.num_steps++;
  Step& made = call_.steps[self];
  auto& operands = operands_[static_cast<std::size_t>(self)];
  operands = {-1, -1};
  for (std::size_t k = 0; k < step.inputs.size(); ++k) {
    operands[k] = static_cast<int>(names_[static_cast<std::size_t>(step.inputs[k])]);
    registers_[static_cast<std::size_t>(operands[k])].last_read = self;
  }
  set_numbers(step, {shape(step.inputs[0]), DType::f32}, made);
  if (step.op == "bias_add" && at(step.inputs[1]).input >= 0) {
    made.code = Code::bias_add;
    made.period = shape(step.inputs[1]).numel();
    made.by_period = Divider(std::max<std::int64_t>(made.period, 1));
  }
  names_.push_back(registers_.size());
  shapes_.push_back(tensor::Shape(shape(step.inputs[0])));
  registers_.push_back({.step = self});
}

void Plan::set_numbers(const PointwiseStep& step, const tensor::TensorType& type, Step& made) {
  const std::array<tensor::TensorType, 1> types{type};
  const tensor::KernelSpec spec{.inputs = types, .outputs = types, .attrs = step.attrs};
  tensor::SpecForm form;
  if (step.op == "dropout") {
    DLT_CHECK(tensor::forms::dropout(spec, form), step.op);
    samples_ = std::max(samples_, form.numbers.rows);
    made.code = Code::dropout;
    made.dropout = Dropout(form.numbers);
    return;
  }
  const tensor::ReadForm read =
      step.op == "scale" ? tensor::forms::scaling : tensor::forms::pointwise;
  DLT_CHECK(read(spec, form), step.op);
  made.numbers = {form.numbers.p0, form.numbers.p1};
  const bool sum =
      step.op == "bias_add";  // of a vector that a step made: an operand like any other
  made.code = code_of(sum ? "add" : step_name(step.op, form.numbers.tanh_gelu));
}

/// Slots for what is read later than at once, used again once read for the last time.
void Plan::place_results(const PointwiseProgram& program) {
  for (const int output : program.outputs) {
    DLT_CHECK(at(output).step >= 0, "fused_pointwise: an output that no step makes");
    at(output).last_read = kMaxSteps;
  }
  const auto place_of = [&](const Register& r, int reader) {
    if (r.input >= 0) return static_cast<Place>(r.input);
    if (r.step == reader - 1) return kLast;
    return static_cast<Place>(kMaxInputs + call_.steps[r.step].slot);
  };
  std::vector<int> free;
  for (int i = 0; i < call_.num_steps; ++i) {
    Step& step = call_.steps[i];
    const auto& operands = operands_[static_cast<std::size_t>(i)];
    step.a = place_of(registers_[static_cast<std::size_t>(operands[0])], i);
    if (operands[1] >= 0) {
      step.b = place_of(registers_[static_cast<std::size_t>(operands[1])], i);
    }
    for (const Register& r : registers_) {
      const bool done = r.step >= 0 && r.step < i && r.last_read == i;
      if (done && call_.steps[r.step].slot >= 0) free.push_back(call_.steps[r.step].slot);
    }
    const auto result = std::find_if(registers_.begin(), registers_.end(),
                                     [&](const Register& r) { return r.step == i; });
    if (result->last_read <= i + 1 || i + 1 == call_.num_steps) continue;
    if (free.empty()) free.push_back(num_slots_++);
    step.slot = static_cast<std::int16_t>(free.back());
    free.pop_back();
  }
  for (std::size_t k = 0; k < program.outputs.size(); ++k) {
    call_.results[k] = place_of(at(program.outputs[k]), call_.num_steps);
  }
}

class FusedPointwise final : public tensor::Kernel {
 public:
  FusedPointwise(const tensor::KernelSpec& spec, const DeviceLibraries& libraries) : plan_(spec) {
    constexpr std::int64_t kBlocksEach = 2 * 2048 / kFusedThreads;
    const std::int64_t blocks =
        (num_groups(plan_.call().count) + kFusedThreads - 1) / kFusedThreads;
    const std::int64_t most = kBlocksEach * libraries.num_multiprocessors();
    grid_.blocks = dim3(static_cast<unsigned>(std::clamp<std::int64_t>(blocks, 1, most)));
    grid_.threads = dim3(kFusedThreads);
    grid_.shared_bytes =
        static_cast<std::size_t>(plan_.num_slots()) * kFusedThreads * sizeof(float4);
  }
  void run(const tensor::KernelArgs& args) const override {
    FusedCall call = plan_.call();
    if (call.count == 0) return;
    if (plan_.samples() > 0) check_sample_ids(args.run, plan_.samples());
    call.run = args.run.device;
    call.aligned = true;
    for (std::size_t i = 0; i < args.inputs.size(); ++i) {
      call.in[i] = args.inputs[i].as<const float>();
      call.aligned = call.aligned && is_aligned(call.in[i]);
    }
    for (std::size_t k = 0; k < args.outputs.size(); ++k) {
      call.out[k] = args.outputs[k].as<float>();
      call.aligned = call.aligned && is_aligned(call.out[k]);
    }
    launch(fused_kernel, grid_, stream_of(args), call);
  }

 private:
  Plan plan_;
  Grid grid_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_fused_pointwise(const tensor::KernelSpec& spec,
                                                     const DeviceLibraries& libraries) {
  if (!tensor::all_f32(spec)) return nullptr;
  return std::make_unique<FusedPointwise>(spec, libraries);
}

}  // namespace dlt::cuda

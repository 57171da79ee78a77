// SPDX-License-Identifier: Apache-2.0
// Element-wise ops, one pass over memory. An output may be the very memory of an input: a thread
// reads its elements before it writes them.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "backend/cuda/device.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/pointwise_steps.h"
#include "backend/cuda/queue.h"
#include "base/error.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

struct MapCall {
  float* y;
  const float* a;
  const float* b;  // null for ops of one input
  std::int64_t count;
  bool aligned;
  StepNumbers numbers;
};

template <typename Step, int kInputs>
__global__ void map_kernel(MapCall c) {
  const std::int64_t groups = (c.count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    const Four a = load_four(c.a, g, c.count, c.aligned);
    Four b{};
    if (kInputs == 2) b = load_four(c.b, g, c.count, c.aligned);
    Four y;
    for (int u = 0; u < 4; ++u) y.x[u] = Step::apply(a.x[u], b.x[u], c.numbers);
    store_four(c.y, y, g, c.count, c.aligned);
  }
}

__global__ void fill_kernel(float* y, float value, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) y[i] = value;
}

/// dst += src
__global__ void accumulate_kernel(float* dst, const float* src, std::int64_t count, bool aligned) {
  const std::int64_t groups = (count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    const Four a = load_four(src, g, count, aligned);
    Four sum = load_four(dst, g, count, aligned);
    for (int u = 0; u < 4; ++u) sum.x[u] += a.x[u];
    store_four(dst, sum, g, count, aligned);
  }
}

struct StepDef {
  std::string_view name;
  int num_inputs;
  void (*kernel)(MapCall);
};
#define DLT_STEP(name, Step, inputs) StepDef{#name, inputs, map_kernel<Step, inputs>},
constexpr std::array kSteps = {
#include "backend/cuda/pointwise_steps.def"
};
#undef DLT_STEP

class Map final : public tensor::Kernel {
 public:
  Map(const StepDef& step, const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : step_(step),
        count_(form.cols),
        numbers_{form.p0, form.p1},
        grid_(grid_of(num_groups(form.cols), libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    MapCall call{.y = args.outputs[0].as<float>(),
                 .a = args.inputs[0].as<const float>(),
                 .b = nullptr,
                 .count = count_,
                 .aligned = is_aligned(args.outputs[0].data) && is_aligned(args.inputs[0].data),
                 .numbers = numbers_};
    if (step_.num_inputs == 2) {
      call.b = args.inputs[1].as<const float>();
      call.aligned = call.aligned && is_aligned(call.b);
    }
    launch(step_.kernel, grid_, stream_of(args), call);
  }

 private:
  StepDef step_;
  std::int64_t count_;
  StepNumbers numbers_;
  Grid grid_;
};

class Copy final : public tensor::Kernel {
 public:
  void run(const tensor::KernelArgs& args) const override {
    if (args.inputs[0].data == args.outputs[0].data) return;
    args.run.queue->copy(args.outputs[0].data, args.inputs[0].data, args.outputs[0].type.bytes());
  }
};

class Fill final : public tensor::Kernel {
 public:
  Fill(const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : count_(form.cols), value_(form.p0), grid_(grid_of(form.cols, libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    launch(fill_kernel, grid_, stream_of(args), args.outputs[0].as<float>(), value_, count_);
  }

 private:
  std::int64_t count_;
  float value_;
  Grid grid_;
};

class Accumulate final : public tensor::Kernel {
 public:
  explicit Accumulate(const DeviceLibraries& libraries) : libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    const std::int64_t count = args.inputs[0].numel();
    if (count == 0) return;
    auto* dst = args.outputs[0].as<float>();
    const auto* src = args.inputs[0].as<const float>();
    launch(accumulate_kernel, grid_of(num_groups(count), *libraries_), stream_of(args), dst, src,
           count, is_aligned(dst) && is_aligned(src));
  }

 private:
  const DeviceLibraries* libraries_;
};

const StepDef& find_step(std::string_view name) {
  const auto* const found = std::find_if(kSteps.begin(), kSteps.end(),
                                         [&](const StepDef& step) { return step.name == name; });
  DLT_CHECK(found != kSteps.end(), std::string(name));
  return *found;
}

std::unique_ptr<tensor::Kernel> make_map(std::string_view op, tensor::ReadForm read,
                                         const tensor::KernelSpec& spec,
                                         const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!read(spec, form)) return nullptr;
  return std::make_unique<Map>(find_step(step_name(op, form.numbers.tanh_gelu)), form.numbers,
                               libraries);
}

}  // namespace

#define DLT_MAP(op, form)                                                       \
  std::unique_ptr<tensor::Kernel> make_##op(const tensor::KernelSpec& spec,     \
                                            const DeviceLibraries& libraries) { \
    return make_map(#op, tensor::forms::form, spec, libraries);                 \
  }
DLT_MAP(abs, pointwise)
DLT_MAP(abs_grad, pointwise)
DLT_MAP(add, pointwise)
DLT_MAP(div, pointwise)
DLT_MAP(exp, pointwise)
DLT_MAP(gelu, pointwise)
DLT_MAP(gelu_grad, pointwise)
DLT_MAP(leaky_relu, pointwise)
DLT_MAP(leaky_relu_grad, pointwise)
DLT_MAP(log, pointwise)
DLT_MAP(mul, pointwise)
DLT_MAP(neg, pointwise)
DLT_MAP(relu, pointwise)
DLT_MAP(relu_grad, pointwise)
DLT_MAP(scale, scaling)
DLT_MAP(sigmoid, pointwise)
DLT_MAP(sigmoid_grad, pointwise)
DLT_MAP(silu, pointwise)
DLT_MAP(silu_grad, pointwise)
DLT_MAP(softplus, pointwise)
DLT_MAP(softplus_grad, pointwise)
DLT_MAP(sqrt, pointwise)
DLT_MAP(square, pointwise)
DLT_MAP(sub, pointwise)
DLT_MAP(tanh, pointwise)
DLT_MAP(tanh_grad, pointwise)
#undef DLT_MAP

std::unique_ptr<tensor::Kernel> make_accumulate(const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  if (!tensor::all_f32(spec)) return nullptr;
  return std::make_unique<Accumulate>(libraries);
}

std::unique_ptr<tensor::Kernel> make_copy(const tensor::KernelSpec& spec, const DeviceLibraries&) {
  if (!tensor::all_f32(spec)) return nullptr;
  return std::make_unique<Copy>();
}

std::unique_ptr<tensor::Kernel> make_sync_sum(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  return make_copy(spec, libraries);
}

std::unique_ptr<tensor::Kernel> make_fill(const tensor::KernelSpec& spec,
                                          const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::constant(spec, form)) return nullptr;
  return std::make_unique<Fill>(form.numbers, libraries);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#include "optim/update_kernel.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "optim/scalar_table.h"

namespace dlt::optim {
namespace {

constexpr std::size_t kMaxStates = 4;
constexpr std::size_t kMaxScalars = ScalarTable::kColumns;
constexpr std::int64_t kNumSums = 2;

}  // namespace

UpdateKernel::UpdateKernel(const tensor::Backend& backend, const Options& options)
    : num_states_(static_cast<std::size_t>(options.num_states)), measures_(options.measures) {
  DLT_CHECK(num_states_ <= kMaxStates, cat(options.name, ": more states than expected"));
  const tensor::Attrs attrs;
  if (const tensor::KernelFactory factory = backend.find(options.name)) {
    // The length is the run's; the spec only says how many buffers there are.
    const tensor::TensorType one{tensor::Shape{1}, DType::f32};
    const std::vector<tensor::TensorType> inputs{one};
    std::vector<tensor::TensorType> outputs(1 + num_states_, one);
    if (measures_) outputs.push_back({tensor::Shape{kNumSums}, DType::f64});
    kernel_ = factory({.inputs = inputs, .outputs = outputs, .attrs = attrs});
  }
  if (kernel_ == nullptr) kernel_ = tensor::make_function_kernel(options.host, attrs);
  DLT_CHECK(kernel_->scratch_bytes() == 0, cat(options.name, ": wants scratch memory"));
}

void UpdateKernel::run(const UpdateArgs& args, std::span<float* const> states,
                       const UpdateScalars& scalars, double* sums) const {
  DLT_CHECK(states.size() == num_states_, "not the optimiser's number of state buffers");
  DLT_CHECK((sums != nullptr) == measures_, "sums are for kernels that measure");
  DLT_CHECK(kOwnScalars + scalars.own.size() <= kMaxScalars, "more scalars than expected");
  if (args.end <= args.begin) return;
  const tensor::TensorType type{tensor::Shape{args.end - args.begin}, DType::f32};
  // Kernels only read their inputs; a View has one pointer type for both.
  const std::array<tensor::View, 1> inputs{
      tensor::View{const_cast<float*>(args.grads) + args.begin, type}};
  std::array<tensor::View, 2 + kMaxStates> outputs;
  std::size_t num_outputs = 0;
  outputs[num_outputs++] = {args.params + args.begin, type};
  for (float* state : states)
    outputs[num_outputs++] = {state + args.begin + args.state_shift, type};
  if (measures_) outputs[num_outputs++] = {sums, {tensor::Shape{kNumSums}, DType::f64}};

  std::array<double, kMaxScalars> all{args.learning_rate, args.grad_scale,
                                      2 * args.l2 + scalars.coupled_decay, args.l1,
                                      args.clip_value};
  std::copy(scalars.own.begin(), scalars.own.end(), all.begin() + kOwnScalars);
  tensor::RunContext run;
  run.scalars = std::span<const double>(all.data(), kOwnScalars + scalars.own.size());
  run.queue = args.queue;
  if (args.scalars != nullptr) {
    run.device_scalars = args.scalars->next(run.scalars);
    if (!args.scalars->launches()) return;
  }
  kernel_->run({.inputs = inputs,
                .outputs = std::span<const tensor::View>(outputs.data(), num_outputs),
                .scratch = nullptr,
                .run = run});
}

HostGradient::HostGradient(std::span<const double> scalars)
    : scale_(static_cast<float>(scalars[1])),
      l2_(static_cast<float>(scalars[2])),
      l1_(static_cast<float>(scalars[3])),
      clip_(static_cast<float>(scalars[4])) {}

HostBuffers::HostBuffers(const tensor::KernelArgs& kernel_args)
    : args(&kernel_args),
      gradient(kernel_args.run.scalars),
      grads(kernel_args.inputs[0].as<const float>()),
      params(kernel_args.outputs[0].as<float>()),
      count(kernel_args.outputs[0].numel()) {}

}  // namespace dlt::optim

// SPDX-License-Identifier: Apache-2.0
#include "optim/update_kernel.h"

#include <array>

#include "base/error.h"
#include "base/text.h"

namespace dlt::optim {
namespace {

constexpr std::size_t kMaxStates = 4;

}  // namespace

UpdateKernel::UpdateKernel(const tensor::Backend& backend, const Options& options)
    : num_states_(static_cast<std::size_t>(options.num_states)) {
  DLT_CHECK(num_states_ <= kMaxStates, cat(options.name, ": more states than expected"));
  const tensor::Attrs attrs;
  if (const tensor::KernelFactory factory = backend.find(options.name)) {
    // The length is the run's; the spec only says how many buffers there are.
    const tensor::TensorType one{tensor::Shape{1}, DType::f32};
    const std::vector<tensor::TensorType> inputs{one};
    const std::vector<tensor::TensorType> outputs(1 + num_states_, one);
    kernel_ = factory({.inputs = inputs, .outputs = outputs, .attrs = attrs});
  }
  if (kernel_ == nullptr) kernel_ = tensor::make_function_kernel(options.host, attrs);
  DLT_CHECK(kernel_->scratch_bytes() == 0, cat(options.name, ": wants scratch memory"));
}

void UpdateKernel::run(const UpdateArgs& args, const std::vector<float*>& states,
                       std::span<const double> scalars) const {
  DLT_CHECK(states.size() == num_states_, "not the optimiser's number of state buffers");
  if (args.end <= args.begin) return;
  const tensor::TensorType type{tensor::Shape{args.end - args.begin}, DType::f32};
  // Kernels only read their inputs; a View has one pointer type for both.
  const std::array<tensor::View, 1> inputs{
      tensor::View{const_cast<float*>(args.grads) + args.begin, type}};
  std::array<tensor::View, 1 + kMaxStates> outputs;
  outputs[0] = {args.params + args.begin, type};
  for (std::size_t i = 0; i < num_states_; ++i) outputs[i + 1] = {states[i] + args.begin, type};
  tensor::RunContext run;
  run.scalars = scalars;
  kernel_->run({.inputs = inputs,
                .outputs = std::span<const tensor::View>(outputs.data(), 1 + num_states_),
                .scratch = nullptr,
                .run = run});
}

}  // namespace dlt::optim

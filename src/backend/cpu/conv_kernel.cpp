// SPDX-License-Identifier: Apache-2.0
// Kernels of the convolutions: from their specs to plans of routines.
#include "backend/cpu/conv.h"
#include "backend/cpu/planned_kernel.h"
#include "backend/cpu/prepare.h"
#include "backend/cpu/winograd.h"
#include "tensor/conv_geometry.h"

namespace dlt::cpu {
namespace {

using tensor::ConvGeometry;
using tensor::KernelSpec;
using ConvRoutine = PlannedKernel<ConvPlan>::Run;

ConvPlan conv_plan(const ConvGeometry& g, const tensor::Attrs& attrs) {
  ConvPlan plan;
  plan.batch = g.batch;
  plan.h = {g.in_h, g.out_h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top};
  plan.w = {g.in_w, g.out_w, g.kernel_w, g.stride_w, g.dilation_w, g.pad_left};
  plan.groups = g.groups;
  plan.group_in = g.group_in();
  plan.group_out = g.group_out();
  if (g.rounds()) plan.precision = prepare::precision_of(attrs);
  return plan;
}

/// One routine in both instruction sets.
struct Routines {
  ConvRoutine avx2, avx512;
};

std::unique_ptr<tensor::Kernel> make_conv(const KernelSpec& spec, const ConvPlan& plan, Isa isa,
                                          const Routines& routines, std::int64_t scratch_floats) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  return std::make_unique<PlannedKernel<ConvPlan>>(
      isa == Isa::avx512 ? routines.avx512 : routines.avx2, plan, scratch_floats);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_conv2d(const KernelSpec& spec, Isa isa) {
  ConvPlan plan = conv_plan(
      conv_geometry("conv2d", spec.inputs[0].shape, spec.inputs[1].shape, spec.attrs), spec.attrs);
  Call call;
  prepare::set_activation(spec.attrs, call);
  plan.activation = call.activation;
  plan.alpha = call.p0;
  plan.biased = spec.inputs.size() > 2;
  Routines routines{avx2::conv2d, avx512::conv2d};
  if (plan.depthwise()) {
    routines = {avx2::depthwise, avx512::depthwise};
  } else if (conv_direct(plan)) {
    routines = {avx2::conv2d_direct, avx512::conv2d_direct};
  } else if (conv_winograd(plan, bf16_unit())) {
    routines = {avx2::winograd, avx512::winograd};
    return make_conv(spec, plan, isa, routines, winograd_scratch_floats(plan));
  }
  return make_conv(spec, plan, isa, routines, conv2d_scratch_floats(plan));
}

std::unique_ptr<tensor::Kernel> make_conv2d_input_grad(const KernelSpec& spec, Isa isa) {
  const ConvPlan plan = conv_plan(
      conv_geometry("conv2d_input_grad", spec.outputs[0].shape, spec.inputs[1].shape, spec.attrs),
      spec.attrs);
  Routines routines{avx2::conv2d_input_grad, avx512::conv2d_input_grad};
  if (plan.depthwise()) {
    routines = {avx2::depthwise_input_grad, avx512::depthwise_input_grad};
  } else if (conv_direct_input_grad(plan)) {
    routines = {avx2::conv2d_direct_input_grad, avx512::conv2d_direct_input_grad};
  } else if (conv_winograd(plan, bf16_unit())) {
    routines = {avx2::winograd_input_grad, avx512::winograd_input_grad};
    return make_conv(spec, plan, isa, routines, winograd_scratch_floats(plan));
  }
  return make_conv(spec, plan, isa, routines, conv2d_input_grad_scratch_floats(plan));
}

std::unique_ptr<tensor::Kernel> make_conv2d_weight_grad(const KernelSpec& spec, Isa isa) {
  const ConvPlan plan = conv_plan(
      conv_geometry("conv2d_weight_grad", spec.inputs[0].shape, spec.outputs[0].shape, spec.attrs),
      spec.attrs);
  Routines routines{avx2::conv2d_weight_grad, avx512::conv2d_weight_grad};
  if (plan.depthwise()) {
    routines = {avx2::depthwise_weight_grad, avx512::depthwise_weight_grad};
  } else if (conv_direct(plan)) {
    routines = {avx2::conv2d_direct_weight_grad, avx512::conv2d_direct_weight_grad};
  } else if (conv_winograd(plan, bf16_unit())) {
    routines = {avx2::winograd_weight_grad, avx512::winograd_weight_grad};
    return make_conv(spec, plan, isa, routines, winograd_scratch_floats(plan));
  }
  return make_conv(spec, plan, isa, routines, conv2d_weight_grad_scratch_floats(plan));
}

}  // namespace dlt::cpu

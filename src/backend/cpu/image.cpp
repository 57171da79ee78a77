// SPDX-License-Identifier: Apache-2.0
// The kernels of pooling and resizing; pad2d and crop2d.
#include <cstring>

#include "backend/cpu/planned_kernel.h"
#include "backend/cpu/pool.h"

namespace dlt::cpu {
namespace {

using tensor::Kernel;
using tensor::KernelSpec;
using tensor::Shape;

bool serves_image(const KernelSpec& spec) {
  return spec.inputs[0].dtype == DType::f32 && spec.outputs[0].dtype == DType::f32;
}

std::unique_ptr<Kernel> pool_kernel(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run,
                                    bool forward) {
  if (!serves_image(spec)) return nullptr;
  const Shape &x = forward ? spec.inputs[0].shape : spec.outputs[0].shape,
              &y = forward ? spec.outputs[0].shape : spec.inputs[0].shape;
  return std::make_unique<PlannedKernel<PoolPlan>>(run, tensor::pool_geometry(x, y, spec.attrs), 0);
}
std::unique_ptr<Kernel> pool(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run) {
  return pool_kernel(spec, run, true);
}
std::unique_ptr<Kernel> pool_grad(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run) {
  return pool_kernel(spec, run, false);
}

std::unique_ptr<Kernel> global_kernel(const KernelSpec& spec, const Shape& x,
                                      PlannedKernel<GlobalPoolPlan>::Run run) {
  if (!serves_image(spec)) return nullptr;
  return std::make_unique<PlannedKernel<GlobalPoolPlan>>(run, tensor::global_pool_geometry(x), 0);
}
std::unique_ptr<Kernel> global_pool(const KernelSpec& spec,
                                    PlannedKernel<GlobalPoolPlan>::Run run) {
  return global_kernel(spec, spec.inputs[0].shape, run);
}
std::unique_ptr<Kernel> global_pool_grad(const KernelSpec& spec,
                                         PlannedKernel<GlobalPoolPlan>::Run run) {
  return global_kernel(spec, spec.outputs[0].shape, run);
}

std::unique_ptr<Kernel> upsample_kernel(const KernelSpec& spec, const Shape& small,
                                        PlannedKernel<UpsamplePlan>::Run run) {
  if (!serves_image(spec)) return nullptr;
  return std::make_unique<PlannedKernel<UpsamplePlan>>(
      run, tensor::upsample_geometry(small, spec.attrs), 0);
}
std::unique_ptr<Kernel> upsample(const KernelSpec& spec, PlannedKernel<UpsamplePlan>::Run run) {
  return upsample_kernel(spec, spec.inputs[0].shape, run);
}
std::unique_ptr<Kernel> upsample_grad(const KernelSpec& spec,
                                      PlannedKernel<UpsamplePlan>::Run run) {
  return upsample_kernel(spec, spec.outputs[0].shape, run);
}

/// f(row in the small image, its place in the large one, bytes)
template <typename F>
void each_row(const FramePlan& plan, F f) {
  const auto bytes = static_cast<std::size_t>(plan.width * plan.channels) * sizeof(float);
  for (std::int64_t i = 0; i < plan.batch * plan.height; ++i) {
    const std::int64_t b = i / plan.height, h = plan.top + i % plan.height;
    f(i * plan.width * plan.channels,
      ((b * plan.large_height + h) * plan.large_width + plan.left) * plan.channels, bytes);
  }
}

void pad(const FramePlan& plan, const Memory& m) {
  const std::int64_t count = plan.batch * plan.large_height * plan.large_width * plan.channels;
  std::memset(m.y(0), 0, static_cast<std::size_t>(count) * sizeof(float));
  each_row(plan, [&](std::int64_t small, std::int64_t large, std::size_t bytes) {
    std::memcpy(m.y(0) + large, m.x(0) + small, bytes);
  });
}

void crop(const FramePlan& plan, const Memory& m) {
  each_row(plan, [&](std::int64_t small, std::int64_t large, std::size_t bytes) {
    std::memcpy(m.y(0) + small, m.x(0) + large, bytes);
  });
}

}  // namespace

#define DLT_IMAGE(op, form)                                            \
  std::unique_ptr<Kernel> make_##op(const KernelSpec& spec, Isa isa) { \
    return form(spec, isa == Isa::avx2 ? avx2::op : avx512::op);       \
  }
DLT_IMAGE(max_pool2d, pool)
DLT_IMAGE(max_pool2d_grad, pool_grad)
DLT_IMAGE(avg_pool2d, pool)
DLT_IMAGE(avg_pool2d_grad, pool_grad)
DLT_IMAGE(global_avg_pool, global_pool)
DLT_IMAGE(global_avg_pool_grad, global_pool_grad)
DLT_IMAGE(global_max_pool, global_pool)
DLT_IMAGE(global_max_pool_grad, global_pool_grad)
DLT_IMAGE(upsample2d, upsample)
DLT_IMAGE(upsample2d_grad, upsample_grad)
#undef DLT_IMAGE

std::unique_ptr<Kernel> make_pad2d(const KernelSpec& spec, Isa /*isa*/) {
  if (!serves_image(spec)) return nullptr;
  const FramePlan plan =
      tensor::frame_geometry(spec.inputs[0].shape, spec.outputs[0].shape, spec.attrs);
  return std::make_unique<PlannedKernel<FramePlan>>(pad, plan, 0);
}

std::unique_ptr<Kernel> make_crop2d(const KernelSpec& spec, Isa /*isa*/) {
  if (!serves_image(spec)) return nullptr;
  const FramePlan plan =
      tensor::frame_geometry(spec.outputs[0].shape, spec.inputs[0].shape, spec.attrs);
  return std::make_unique<PlannedKernel<FramePlan>>(crop, plan, 0);
}

}  // namespace dlt::cpu

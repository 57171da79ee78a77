// SPDX-License-Identifier: Apache-2.0
// The kernels of pooling and resizing; pad2d and crop2d.
#include <cstring>

#include "backend/cpu/planned_kernel.h"
#include "backend/cpu/pool.h"

namespace dlt::cpu {
namespace {

using tensor::Attrs;
using tensor::Kernel;
using tensor::KernelSpec;
using tensor::Shape;

bool served(const KernelSpec& spec) {
  return spec.inputs[0].dtype == DType::f32 && spec.outputs[0].dtype == DType::f32;
}

/// x is the image that is pooled, y the result.
PoolPlan pool_plan(const Shape& x, const Shape& y, const Attrs& attrs) {
  const auto window = attrs.integers("window"), strides = attrs.integers("strides");
  const auto pads = attrs.integers("pads");
  PoolPlan plan{.batch = x[0],
                .in_height = x[1],
                .in_width = x[2],
                .out_height = y[1],
                .out_width = y[2],
                .channels = x[3],
                .window_height = window[0],
                .window_width = window[1],
                .stride_height = strides[0],
                .stride_width = strides[1],
                .top = pads[0],
                .left = pads[2],
                .count_include_pad = attrs.integer("count_include_pad") != 0};
  plan.overlap = strides[0] < window[0] || strides[1] < window[1];
  plan.gaps = strides[0] > window[0] || strides[1] > window[1] ||
              (y[1] - 1) * strides[0] + window[0] < x[1] + pads[0] ||
              (y[2] - 1) * strides[1] + window[1] < x[2] + pads[2];
  return plan;
}

std::unique_ptr<Kernel> pool_kernel(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run,
                                    bool forward) {
  if (!served(spec)) return nullptr;
  const Shape &x = forward ? spec.inputs[0].shape : spec.outputs[0].shape,
              &y = forward ? spec.outputs[0].shape : spec.inputs[0].shape;
  return std::make_unique<PlannedKernel<PoolPlan>>(run, pool_plan(x, y, spec.attrs), 0);
}
std::unique_ptr<Kernel> pool(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run) {
  return pool_kernel(spec, run, true);
}
std::unique_ptr<Kernel> pool_grad(const KernelSpec& spec, PlannedKernel<PoolPlan>::Run run) {
  return pool_kernel(spec, run, false);
}

std::unique_ptr<Kernel> global_kernel(const KernelSpec& spec, const Shape& x,
                                      PlannedKernel<GlobalPoolPlan>::Run run) {
  if (!served(spec)) return nullptr;
  const GlobalPoolPlan plan{.batch = x[0], .places = x.rows() / x[0], .channels = x.last()};
  return std::make_unique<PlannedKernel<GlobalPoolPlan>>(run, plan, 0);
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
  if (!served(spec)) return nullptr;
  const auto size = spec.attrs.integers("size");
  const UpsamplePlan plan{.batch = small[0],
                          .height = small[1],
                          .width = small[2],
                          .channels = small[3],
                          .factor_height = size[0],
                          .factor_width = size[1],
                          .bilinear = spec.attrs.word("interpolation") == "bilinear"};
  return std::make_unique<PlannedKernel<UpsamplePlan>>(run, plan, 0);
}
std::unique_ptr<Kernel> upsample(const KernelSpec& spec, PlannedKernel<UpsamplePlan>::Run run) {
  return upsample_kernel(spec, spec.inputs[0].shape, run);
}
std::unique_ptr<Kernel> upsample_grad(const KernelSpec& spec,
                                      PlannedKernel<UpsamplePlan>::Run run) {
  return upsample_kernel(spec, spec.outputs[0].shape, run);
}

FramePlan frame_plan(const KernelSpec& spec, const Shape& small, const Shape& large) {
  const auto pads = spec.attrs.integers("pads");
  return {.batch = small[0],
          .height = small[1],
          .width = small[2],
          .channels = small[3],
          .large_height = large[1],
          .large_width = large[2],
          .top = pads[0],
          .left = pads[2]};
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
  if (!served(spec)) return nullptr;
  const FramePlan plan = frame_plan(spec, spec.inputs[0].shape, spec.outputs[0].shape);
  return std::make_unique<PlannedKernel<FramePlan>>(pad, plan, 0);
}

std::unique_ptr<Kernel> make_crop2d(const KernelSpec& spec, Isa /*isa*/) {
  if (!served(spec)) return nullptr;
  const FramePlan plan = frame_plan(spec, spec.outputs[0].shape, spec.inputs[0].shape);
  return std::make_unique<PlannedKernel<FramePlan>>(crop, plan, 0);
}

}  // namespace dlt::cpu

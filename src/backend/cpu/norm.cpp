// SPDX-License-Identifier: Apache-2.0
// The kernels of batch_norm, group_norm, layer_norm and rms_norm.
#include "backend/cpu/norm.h"

#include <numeric>

#include "backend/cpu/planned_kernel.h"

namespace dlt::cpu {
namespace {

using tensor::Kernel;
using tensor::KernelSpec;
using tensor::Shape;

/// So many rows side by side that they are whole groups of vectors, where that is not much.
std::int64_t fold_of(std::int64_t channels, std::int64_t rows) {
  constexpr std::int64_t kMaxWidth = 512;
  for (const std::int64_t vectors : {4, 2, 1}) {
    const std::int64_t fold = vectors * kMaxLanes / std::gcd(channels, vectors * kMaxLanes);
    if (fold * channels <= kMaxWidth && fold <= rows) return fold;
  }
  return 1;
}

ColumnNormPlan column_plan(const KernelSpec& spec) {
  const Shape& x = spec.inputs[0].shape;
  ColumnNormPlan plan{.batch = x[0],
                      .rows = x.rows() / x[0],
                      .channels = x.last(),
                      .groups = spec.attrs.integer("groups", 1),
                      .eps = spec.attrs.number("eps", 1e-5),
                      .relu = spec.attrs.word("activation", "none") == "relu"};
  return plan;
}

std::unique_ptr<Kernel> column_kernel(const KernelSpec& spec, ColumnNormPlan plan,
                                      PlannedKernel<ColumnNormPlan>::Run run) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  const std::int64_t doubles = 4 * plan.channels;  // two sums a channel
  return std::make_unique<PlannedKernel<ColumnNormPlan>>(
      run, plan, kColumnArrays * column_pitch(plan) + doubles);
}

std::unique_ptr<Kernel> over_batch(const KernelSpec& spec, PlannedKernel<ColumnNormPlan>::Run run) {
  ColumnNormPlan plan = column_plan(spec);
  plan.fold = fold_of(plan.channels, plan.batch * plan.rows);
  return column_kernel(spec, plan, run);
}

/// The same, with one input more than `plain` or without.
template <std::size_t plain>
std::unique_ptr<Kernel> over_batch_and_past(const KernelSpec& spec,
                                            PlannedKernel<ColumnNormPlan>::Run run) {
  ColumnNormPlan plan = column_plan(spec);
  plan.fold = fold_of(plan.channels, plan.batch * plan.rows);
  plan.past = spec.inputs.size() > plain;
  return column_kernel(spec, plan, run);
}

std::unique_ptr<Kernel> over_sample(const KernelSpec& spec,
                                    PlannedKernel<ColumnNormPlan>::Run run) {
  ColumnNormPlan plan = column_plan(spec);
  plan.fold = fold_of(plan.channels, plan.rows);
  return column_kernel(spec, plan, run);
}

std::unique_ptr<Kernel> over_row(const KernelSpec& spec, PlannedKernel<RowNormPlan>::Run run) {
  if (!all_f32(spec.inputs) || !all_f32(spec.outputs)) return nullptr;
  const Shape& x = spec.inputs[0].shape;
  const RowNormPlan plan{
      .rows = x.rows(), .n = x.last(), .eps = static_cast<float>(spec.attrs.number("eps", 1e-5))};
  return std::make_unique<PlannedKernel<RowNormPlan>>(run, plan, 6 * plan.n);
}

}  // namespace

#define DLT_NORM(op, form)                                             \
  std::unique_ptr<Kernel> make_##op(const KernelSpec& spec, Isa isa) { \
    return form(spec, isa == Isa::avx2 ? avx2::op : avx512::op);       \
  }
DLT_NORM(batch_moments, over_batch)
DLT_NORM(batch_moments_grad, over_batch)
DLT_NORM(batch_norm_moments, over_batch)
DLT_NORM(batch_norm_moments_grad, over_batch)
DLT_NORM(batch_norm, over_batch_and_past<4>)
DLT_NORM(batch_norm_grad, over_batch_and_past<7>)
DLT_NORM(batch_norm_inference, over_batch_and_past<5>)
DLT_NORM(group_norm, over_sample)
DLT_NORM(group_norm_grad, over_sample)
DLT_NORM(layer_norm, over_row)
DLT_NORM(add_layer_norm, over_row)
DLT_NORM(layer_norm_grad, over_row)
DLT_NORM(rms_norm, over_row)
DLT_NORM(rms_norm_grad, over_row)
#undef DLT_NORM

std::unique_ptr<Kernel> make_batch_norm_statistics(const KernelSpec& spec, Isa isa) {
  const ColumnNormPlan plan{
      .batch = spec.inputs[2].shape[0], .rows = 1, .channels = spec.inputs[0].shape.last()};
  return column_kernel(
      spec, plan, isa == Isa::avx2 ? avx2::batch_norm_statistics : avx512::batch_norm_statistics);
}

}  // namespace dlt::cpu

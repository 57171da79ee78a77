// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <limits>

#include "backend/cuda/label_rows.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

template <typename Team>
__device__ std::int64_t count_labels(const LabelCall& c, std::int64_t sample) {
  if (c.labels == nullptr) return c.inner;
  int count = 0;
  for (std::int64_t i = Team::rank(); i < c.inner; i += Team::kSize) {
    count += c.counts(sample * c.inner + i) ? 1 : 0;
  }
  return Team::sum(count);
}

/// out: sign times the mean of each sample's row losses; rows that do not count are 0.
template <typename Team>
__global__ void sample_mean_kernel(LabelCall c, float* out, float sign) {
  for (std::int64_t b = Team::first(); b < c.samples; b += Team::stride()) {
    double sum = 0;
    for (std::int64_t i = Team::rank(); i < c.inner; i += Team::kSize) {
      sum += static_cast<double>(c.out[b * c.inner + i]);
    }
    sum = Team::sum(sum);
    const std::int64_t count = count_labels<Team>(c, b);
    if (Team::rank() == 0) {
      out[b] = count == 0 ? 0.0f : sign * static_cast<float>(sum / static_cast<double>(count));
    }
  }
}

template <typename Team>
__global__ void factor_kernel(LabelCall c, float* factors) {
  for (std::int64_t b = Team::first(); b < c.samples; b += Team::stride()) {
    const std::int64_t count = count_labels<Team>(c, b);
    if (Team::rank() == 0) {
      factors[b] = count == 0 ? 0.0f : c.dloss[b] / static_cast<float>(count);
    }
  }
}

}  // namespace

bool LabelLoss::can_ignore() const {
  return form_.labels == tensor::Labels::index &&
         form_.ignored != std::numeric_limits<std::int32_t>::min();
}

std::int64_t LabelLoss::scratch_bytes() const {
  return form_.rows * form_.inner * static_cast<std::int64_t>(sizeof(float));
}

LabelCall LabelLoss::call_of(const tensor::KernelArgs& args) const {
  const bool index = form_.labels == tensor::Labels::index;
  LabelCall call{};
  call.out = args.outputs[0].as<float>();
  call.x = args.inputs[0].as<const float>();
  if (index) {
    call.labels = args.inputs[1].as<const std::int32_t>();
  } else {
    call.distribution = args.inputs[1].as<const float>();
  }
  call.samples = form_.rows;
  call.inner = form_.inner;
  call.columns = form_.cols;
  call.ignored = form_.ignored;
  call.p0 = form_.p0;
  call.p1 = form_.p1;
  call.aligned = is_aligned(call.x) && (index || is_aligned(call.distribution));
  return call;
}

void LabelLoss::run_loss(RowKernel<LabelCall> kernel, LabelCall call, float sign,
                         const tensor::KernelArgs& args) const {
  call.out = reinterpret_cast<float*>(args.scratch);
  launch_rows(kernel, call.samples * call.inner, call.columns, *libraries_, stream_of(args), call);
  launch_rows(RowKernel{sample_mean_kernel<Warp>, sample_mean_kernel<Block>}, call.samples,
              call.inner, *libraries_, stream_of(args), call, args.outputs[0].as<float>(), sign);
}

void LabelLoss::run_gradient(RowKernel<LabelCall> kernel, LabelCall call,
                             const tensor::KernelArgs& args) const {
  call.aligned = call.aligned && is_aligned(call.out);
  if (can_ignore()) {
    auto* factors = reinterpret_cast<float*>(args.scratch);
    launch_rows(RowKernel{factor_kernel<Warp>, factor_kernel<Block>}, call.samples, call.inner,
                *libraries_, stream_of(args), call, factors);
    call.factors = factors;
  }
  launch_rows(kernel, call.samples * call.inner, call.columns, *libraries_, stream_of(args), call);
}

}  // namespace dlt::cuda

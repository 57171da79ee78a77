// SPDX-License-Identifier: Apache-2.0
// Masks of sequences and the sums of rows that go with them.
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/rows.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

struct MaskCall {
  float* out;
  const float* x;
  const float* mask;
  const float* dy;  // masked_mean_grad
  std::int64_t rows, columns;
  float value;  // time_mask
  bool aligned;
};

template <typename Team>
__device__ int count_set(const float* mask, const Row& row, bool aligned) {
  int count = 0;
  each_number<Team>(mask, row, aligned, [&](std::int64_t, float m) { count += m > 0.5f ? 1 : 0; });
  return Team::sum(count);
}

template <typename Team>
__global__ void masked_mean_kernel(MaskCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    double sum = 0;
    each_number<Team>(c.x, row, c.aligned, [&](std::int64_t column, float x) {
      if (c.mask[row.start + column] > 0.5f) sum += static_cast<double>(x);
    });
    sum = Team::sum(sum);
    const int count = count_set<Team>(c.mask, row, c.aligned);
    if (Team::rank() == 0) c.out[i] = count == 0 ? 0.0f : static_cast<float>(sum / count);
  }
}

template <typename Team>
__global__ void masked_mean_grad_kernel(MaskCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    const int count = count_set<Team>(c.mask, row, c.aligned);
    const float dx = count == 0 ? 0.0f : c.dy[i] / static_cast<float>(count);
    map_numbers<Team>(c.mask, c.out, row, c.aligned,
                      [=](std::int64_t, float m) { return m > 0.5f ? dx : 0.0f; });
  }
}

template <typename Team>
__global__ void sum_rows_kernel(MaskCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    float sum = 0.0f;
    each_number<Team>(c.x, Row(i, c.columns), c.aligned, [&](std::int64_t, float x) { sum += x; });
    sum = Team::sum(sum);
    if (Team::rank() == 0) c.out[i] = sum;
  }
}

/// 0 where all numbers of a row are the value, else 1.
template <typename Team>
__global__ void time_mask_kernel(MaskCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    int others = 0;
    each_number<Team>(c.x, Row(i, c.columns), c.aligned,
                      [&](std::int64_t, float x) { others += x == c.value ? 0 : 1; });
    others = Team::sum(others);
    if (Team::rank() == 0) c.out[i] = others == 0 ? 0.0f : 1.0f;
  }
}

__global__ void mask_labels_kernel(std::int32_t* out, const std::int32_t* labels, const float* mask,
                                   std::int32_t masked, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    out[i] = mask[i] > 0.5f ? labels[i] : masked;
  }
}

__global__ void token_mask_kernel(float* out, const std::int32_t* ids, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    out[i] = ids[i] != 0 ? 1.0f : 0.0f;
  }
}

enum class MaskOp : std::uint8_t { masked_mean, masked_mean_grad, sum_rows, time_mask };

class RowMask final : public tensor::Kernel {
 public:
  RowMask(MaskOp op, const tensor::KernelForm& form, float value, const DeviceLibraries& libraries)
      : op_(op), rows_(form.rows), columns_(form.cols), value_(value), libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    MaskCall call{};
    call.out = args.outputs[0].as<float>();
    call.x = args.inputs[0].as<const float>();
    call.rows = rows_;
    call.columns = columns_;
    call.value = value_;
    call.aligned = is_aligned(call.x);
    const auto run = [&](RowKernel<MaskCall> kernel) {
      launch_rows(kernel, rows_, columns_, *libraries_, stream_of(args), call);
    };
    switch (op_) {
      case MaskOp::masked_mean:
        call.mask = args.inputs[1].as<const float>();
        call.aligned = call.aligned && is_aligned(call.mask);
        return run({masked_mean_kernel<Warp>, masked_mean_kernel<Block>});
      case MaskOp::masked_mean_grad:
        call.mask = call.x;
        call.dy = args.inputs[1].as<const float>();
        call.aligned = call.aligned && is_aligned(call.out);
        return run({masked_mean_grad_kernel<Warp>, masked_mean_grad_kernel<Block>});
      case MaskOp::sum_rows:
        return run({sum_rows_kernel<Warp>, sum_rows_kernel<Block>});
      case MaskOp::time_mask:
        return run({time_mask_kernel<Warp>, time_mask_kernel<Block>});
    }
  }

 private:
  MaskOp op_;
  std::int64_t rows_, columns_;
  float value_;
  const DeviceLibraries* libraries_;
};

class MaskLabels final : public tensor::Kernel {
 public:
  MaskLabels(const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : count_(form.cols), masked_(form.ignored), grid_(grid_of(form.cols, libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    launch(mask_labels_kernel, grid_, stream_of(args), args.outputs[0].as<std::int32_t>(),
           args.inputs[0].as<const std::int32_t>(), args.inputs[1].as<const float>(), masked_,
           count_);
  }

 private:
  std::int64_t count_;
  std::int32_t masked_;
  Grid grid_;
};

class TokenMask final : public tensor::Kernel {
 public:
  TokenMask(std::int64_t count, const DeviceLibraries& libraries)
      : count_(count), grid_(grid_of(count, libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    launch(token_mask_kernel, grid_, stream_of(args), args.outputs[0].as<float>(),
           args.inputs[0].as<const std::int32_t>(), count_);
  }

 private:
  std::int64_t count_;
  Grid grid_;
};

std::unique_ptr<tensor::Kernel> make_mask(MaskOp op, tensor::ReadForm read,
                                          const tensor::KernelSpec& spec,
                                          const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!read(spec, form)) return nullptr;
  return std::make_unique<RowMask>(op, form.numbers, static_cast<float>(spec.attrs.number("value")),
                                   libraries);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_masked_mean(const tensor::KernelSpec& spec,
                                                 const DeviceLibraries& libraries) {
  return make_mask(MaskOp::masked_mean, tensor::forms::samples, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_masked_mean_grad(const tensor::KernelSpec& spec,
                                                      const DeviceLibraries& libraries) {
  return make_mask(MaskOp::masked_mean_grad, tensor::forms::samples, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_sum_rows(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  return make_mask(MaskOp::sum_rows, tensor::forms::samples, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_time_mask(const tensor::KernelSpec& spec,
                                               const DeviceLibraries& libraries) {
  return make_mask(MaskOp::time_mask, tensor::forms::matrix, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_mask_labels(const tensor::KernelSpec& spec,
                                                 const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::mask_labels(spec, form)) return nullptr;
  return std::make_unique<MaskLabels>(form.numbers, libraries);
}
std::unique_ptr<tensor::Kernel> make_token_mask(const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  return std::make_unique<TokenMask>(spec.inputs[0].shape.numel(), libraries);
}

}  // namespace dlt::cuda

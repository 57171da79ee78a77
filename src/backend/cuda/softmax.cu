// SPDX-License-Identifier: Apache-2.0
// softmax, log_softmax and their derivatives, row by row; may write over input 0.
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/rows.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

struct SoftmaxCall {
  float* out;
  const float* x;   // of a derivative: the op's output
  const float* dy;  // of a derivative
  std::int64_t rows, columns;
  bool aligned;
};

template <typename Team>
__global__ void softmax_kernel(SoftmaxCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    const LogSum sum = log_sum<Team>(c.x, row, c.aligned);
    const float factor = 1.0f / sum.total;
    map_numbers<Team>(c.x, c.out, row, c.aligned,
                      [=](std::int64_t, float x) { return expf(x - sum.shift) * factor; });
  }
}

template <typename Team>
__global__ void log_softmax_kernel(SoftmaxCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    const LogSum sum = log_sum<Team>(c.x, row, c.aligned);
    map_numbers<Team>(c.x, c.out, row, c.aligned,
                      [=](std::int64_t, float x) { return (x - sum.shift) - sum.log_total; });
  }
}

/// dx = y (dy - sum(y dy))
template <typename Team>
__global__ void softmax_grad_kernel(SoftmaxCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    float dot = 0.0f;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four y = load_four(c.x, row, g, c.aligned), dy = load_four(c.dy, row, g, c.aligned);
      for (int u = 0; u < 4; ++u) dot = fmaf(y.x[u], dy.x[u], dot);
    }
    dot = Team::sum(dot);
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four dy = load_four(c.dy, row, g, c.aligned);
      Four four = load_four(c.x, row, g, c.aligned);
      for (int u = 0; u < 4; ++u) four.x[u] *= dy.x[u] - dot;
      store_four(c.out, four, row, g, c.aligned);
    }
  }
}

/// dx = dy - exp(y) sum(dy)
template <typename Team>
__global__ void log_softmax_grad_kernel(SoftmaxCall c) {
  for (std::int64_t i = Team::first(); i < c.rows; i += Team::stride()) {
    const Row row(i, c.columns);
    float total = 0.0f;
    each_number<Team>(c.dy, row, c.aligned, [&](std::int64_t, float dy) { total += dy; });
    total = Team::sum(total);
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four dy = load_four(c.dy, row, g, c.aligned);
      Four four = load_four(c.x, row, g, c.aligned);
      for (int u = 0; u < 4; ++u) four.x[u] = fmaf(-expf(four.x[u]), total, dy.x[u]);
      store_four(c.out, four, row, g, c.aligned);
    }
  }
}

class Softmax final : public tensor::Kernel {
 public:
  Softmax(RowKernel<SoftmaxCall> kernel, const tensor::KernelForm& form,
          const DeviceLibraries& libraries)
      : kernel_(kernel), rows_(form.rows), columns_(form.cols), libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    SoftmaxCall call{
        .out = args.outputs[0].as<float>(),
        .x = args.inputs[0].as<const float>(),
        .dy = nullptr,
        .rows = rows_,
        .columns = columns_,
        .aligned = is_aligned(args.outputs[0].data) && is_aligned(args.inputs[0].data)};
    if (args.inputs.size() > 1) {
      call.dy = args.inputs[1].as<const float>();
      call.aligned = call.aligned && is_aligned(call.dy);
    }
    launch_rows(kernel_, rows_, columns_, *libraries_, stream_of(args), call);
  }

 private:
  RowKernel<SoftmaxCall> kernel_;
  std::int64_t rows_, columns_;
  const DeviceLibraries* libraries_;
};

std::unique_ptr<tensor::Kernel> make_softmax(RowKernel<SoftmaxCall> kernel,
                                             const tensor::KernelSpec& spec,
                                             const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::matrix(spec, form)) return nullptr;
  return std::make_unique<Softmax>(kernel, form.numbers, libraries);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_softmax(const tensor::KernelSpec& spec,
                                             const DeviceLibraries& libraries) {
  return make_softmax({softmax_kernel<Warp>, softmax_kernel<Block>}, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_log_softmax(const tensor::KernelSpec& spec,
                                                 const DeviceLibraries& libraries) {
  return make_softmax({log_softmax_kernel<Warp>, log_softmax_kernel<Block>}, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_softmax_grad(const tensor::KernelSpec& spec,
                                                  const DeviceLibraries& libraries) {
  return make_softmax({softmax_grad_kernel<Warp>, softmax_grad_kernel<Block>}, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_log_softmax_grad(const tensor::KernelSpec& spec,
                                                      const DeviceLibraries& libraries) {
  return make_softmax({log_softmax_grad_kernel<Warp>, log_softmax_grad_kernel<Block>}, spec,
                      libraries);
}

}  // namespace dlt::cuda

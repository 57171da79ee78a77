// SPDX-License-Identifier: Apache-2.0
// bias_add, bias_grad and activation_bias_grad, which reads its operands once.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "backend/cuda/columns.h"
#include "backend/cuda/device.h"
#include "backend/cuda/divider.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/pointwise_steps.h"
#include "backend/cuda/queue.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

__global__ void bias_add_kernel(float* y, const float* x, const float* bias, std::int64_t count,
                                std::int64_t columns, Divider by_columns, bool aligned) {
  const std::int64_t groups = (count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    Four four = load_four(x, g, count, aligned);
    std::int64_t column = 4 * g;
    (void)by_columns.take(column);
    for (int u = 0; u < 4; ++u) {
      four.x[u] += bias[column];
      if (++column == columns) column = 0;
    }
    store_four(y, four, g, count, aligned);
  }
}

/// f32 within a few rows, f64 beyond.
struct ColumnSum {
  double sum;
  __device__ void merge(const ColumnSum& other) { sum += other.sum; }
};

struct BiasGrad {
  using Part = ColumnSum;
  const float* dy;
  float* db;
  std::int64_t columns;

  __device__ Part part(const ColumnRows& rows) const {
    double total = 0;
    float sum = 0;
    over_rows(
        rows, [&](std::int64_t row) { return dy[row * columns + rows.channel]; },
        [&](std::int64_t, float value) { sum += value; },
        [&] {
          total += static_cast<double>(sum);
          sum = 0;
        });
    return {total};
  }
  __device__ void finish(std::int64_t column, const Part& part) const {
    db[column] = static_cast<float>(part.sum);
  }
};

struct Identity {
  static __device__ float apply(float, float dy, const StepNumbers&) { return dy; }
};

template <typename Step>
struct ActivationBiasGrad {
  using Part = ColumnSum;
  const float* y;
  const float* dy;
  float* dx;  // may be y or dy
  float* db;
  std::int64_t columns;
  StepNumbers numbers;

  struct Pair {
    float y, dy;
  };
  __device__ Part part(const ColumnRows& rows) const {
    double total = 0;
    float sum = 0;
    over_rows(
        rows,
        [&](std::int64_t row) {
          const std::int64_t at = row * columns + rows.channel;
          return Pair{y[at], dy[at]};
        },
        [&](std::int64_t row, const Pair& pair) {
          const float value = Step::apply(pair.y, pair.dy, numbers);
          dx[row * columns + rows.channel] = value;
          sum += value;
        },
        [&] {
          total += static_cast<double>(sum);
          sum = 0;
        });
    return {total};
  }
  __device__ void finish(std::int64_t column, const Part& part) const {
    db[column] = static_cast<float>(part.sum);
  }
};

class BiasAddKernel final : public tensor::Kernel {
 public:
  BiasAddKernel(const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : count_(form.rows * form.cols),
        columns_(form.cols),
        by_columns_(std::max<std::int64_t>(form.cols, 1)),
        grid_(grid_of(num_groups(count_), libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    auto* y = args.outputs[0].as<float>();
    const auto* x = args.inputs[0].as<const float>();
    launch(bias_add_kernel, grid_, stream_of(args), y, x, args.inputs[1].as<const float>(), count_,
           columns_, by_columns_, is_aligned(y) && is_aligned(x));
  }

 private:
  std::int64_t count_, columns_;
  Divider by_columns_;
  Grid grid_;
};

class BiasGradKernel final : public tensor::Kernel {
 public:
  explicit BiasGradKernel(const tensor::KernelForm& form) : grid_(form.rows, form.cols) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return column_scratch_bytes<BiasGrad>(grid_);
  }
  void run(const tensor::KernelArgs& args) const override {
    if (grid_.channels == 0) return;
    const BiasGrad op{args.inputs[0].as<const float>(), args.outputs[0].as<float>(),
                      grid_.channels};
    reduce_columns(grid_, op, args.scratch, stream_of(args));
  }

 private:
  ColumnGrid grid_;
};

template <typename Step>
class ActivationBiasGradKernel final : public tensor::Kernel {
 public:
  explicit ActivationBiasGradKernel(const tensor::KernelForm& form)
      : grid_(form.rows, form.cols), numbers_{form.p0, form.p1} {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return column_scratch_bytes<ActivationBiasGrad<Step>>(grid_);
  }
  void run(const tensor::KernelArgs& args) const override {
    if (grid_.channels == 0) return;
    const ActivationBiasGrad<Step> op{args.inputs[0].as<const float>(),
                                      args.inputs[1].as<const float>(),
                                      args.outputs[0].as<float>(),
                                      args.outputs[1].as<float>(),
                                      grid_.channels,
                                      numbers_};
    reduce_columns(grid_, op, args.scratch, stream_of(args));
  }

 private:
  ColumnGrid grid_;
  StepNumbers numbers_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_bias_add(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::matrix(spec, form)) return nullptr;
  return std::make_unique<BiasAddKernel>(form.numbers, libraries);
}

std::unique_ptr<tensor::Kernel> make_bias_grad(const tensor::KernelSpec& spec,
                                               const DeviceLibraries&) {
  tensor::SpecForm form;
  if (!tensor::forms::matrix(spec, form)) return nullptr;
  return std::make_unique<BiasGradKernel>(form.numbers);
}

std::unique_ptr<tensor::Kernel> make_activation_bias_grad(const tensor::KernelSpec& spec,
                                                          const DeviceLibraries&) {
  tensor::SpecForm form;
  if (!tensor::forms::matrix(spec, form)) return nullptr;
  switch (form.numbers.activation) {
    case tensor::Activation::none:
      return std::make_unique<ActivationBiasGradKernel<Identity>>(form.numbers);
    case tensor::Activation::relu:
      return std::make_unique<ActivationBiasGradKernel<ReluGrad>>(form.numbers);
    case tensor::Activation::leaky_relu:
      return std::make_unique<ActivationBiasGradKernel<LeakyReluGrad>>(form.numbers);
    case tensor::Activation::tanh:
      return std::make_unique<ActivationBiasGradKernel<TanhGrad>>(form.numbers);
    case tensor::Activation::sigmoid:
      return std::make_unique<ActivationBiasGradKernel<SigmoidGrad>>(form.numbers);
    case tensor::Activation::softplus:
      return std::make_unique<ActivationBiasGradKernel<SoftplusGrad>>(form.numbers);
  }
  return nullptr;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// "running_statistics_update": what train/running_statistics does, for buffers of the device.
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

constexpr int kStatisticsThreads = 128;
constexpr int kStatisticsColumns =
    6;  // mean, variance, positions (-1: none), size, momentum, per sample

struct WeightSum {
  double value = 0;
  const double* at = nullptr;  // in device memory, in its place
};

__global__ void running_statistics_kernel(float* params, const float* sums, const double* table,
                                          WeightSum weight) {
  const double* row = table + static_cast<std::int64_t>(blockIdx.x) * kStatisticsColumns;
  const auto mean_at = static_cast<std::int64_t>(row[0]);
  const auto variance_at = static_cast<std::int64_t>(row[1]);
  const auto positions_at = static_cast<std::int64_t>(row[2]);
  const auto size = static_cast<std::int64_t>(row[3]);
  const double momentum = row[4];
  double total = weight.at != nullptr ? *weight.at : weight.value;
  if (!(total > 0)) return;
  double n = total * row[5];
  if (positions_at >= 0) {
    total = n = static_cast<double>(sums[positions_at]);
    if (threadIdx.x == 0 && blockIdx.y == 0) params[positions_at] = sums[positions_at];
    if (!(total > 0)) return;
  }
  const double unbiased = n > 1 ? n / (n - 1) : 1;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x; i < size;
       i += static_cast<std::int64_t>(gridDim.y) * blockDim.x) {
    const double mean = static_cast<double>(params[mean_at + i]);
    const double variance = static_cast<double>(params[variance_at + i]);
    const double shift = static_cast<double>(sums[mean_at + i]) / total;
    const double spread = static_cast<double>(sums[variance_at + i]) / total;
    const double batch = fmax(spread - shift * shift, 0.0) * unbiased;
    params[mean_at + i] = static_cast<float>(mean + momentum * shift);
    params[variance_at + i] = static_cast<float>(variance + momentum * (batch - variance));
  }
}

class RunningStatistics final : public tensor::Kernel {
 public:
  void run(const tensor::KernelArgs& args) const override {
    const std::int64_t rows = args.inputs[1].type.shape[0];
    if (rows == 0) return;
    const WeightSum weight{.value = args.run.scalars.empty() ? 0.0 : args.run.scalars[0],
                           .at = args.run.device_scalars};
    launch(running_statistics_kernel,
           {.blocks = dim3(static_cast<unsigned>(rows), 4), .threads = dim3(kStatisticsThreads)},
           stream_of(args), args.outputs[0].as<float>(), args.inputs[0].as<const float>(),
           args.inputs[1].as<const double>(), weight);
  }
};

}  // namespace

/// inputs: reduced sums, flat f32; table f64 [pairs, 6]; output: parameters, flat f32. scalars[0]
/// is the step's weight. arithmetic: nn::RunningStatistics
std::unique_ptr<tensor::Kernel> make_running_statistics_update(const tensor::KernelSpec& spec,
                                                               const DeviceLibraries&) {
  if (spec.outputs[0].dtype != DType::f32 || spec.inputs[1].dtype != DType::f64) return nullptr;
  return std::make_unique<RunningStatistics>();
}

}  // namespace dlt::cuda

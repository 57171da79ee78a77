// SPDX-License-Identifier: Apache-2.0
// "clip_scale": what of a step's update depends on the norm of its gradient, decided on the device,
// so that a captured step needs no host in its middle.
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

constexpr int kClipThreads = 256;
constexpr std::int64_t kScalarColumns = 16;  // of a row of scalars (optim::ScalarTable)
constexpr std::int64_t kScale_column = 1;    // grad_scale in it (optim/update_kernel.h)

/// settings: the step's weight, the largest norm. The sum is made in order, as the host makes it.
__global__ void clip_scale_kernel(double* rows, double* norm, const double* squares,
                                  std::int64_t num_squares, std::int64_t num_rows,
                                  const double* settings) {
  __shared__ double part[kClipThreads];
  double sum = 0;
  for (std::int64_t first = 0; first < num_squares; first += kClipThreads) {
    const std::int64_t i = first + threadIdx.x;
    part[threadIdx.x] = i < num_squares ? squares[i] : 0.0;
    __syncthreads();
    if (threadIdx.x == 0) {
      const std::int64_t count =
          num_squares - first < kClipThreads ? num_squares - first : kClipThreads;
      for (std::int64_t k = 0; k < count; ++k) sum += part[k];
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  const double weight = settings[0], most = settings[1];
  const double whole = sqrt(sum);
  *norm = whole;
  const double of_mean = whole / weight;
  double scale = 1.0 / weight;
  if (of_mean > most) scale *= most / of_mean;
  for (std::int64_t row = 0; row < num_rows; ++row)
    rows[row * kScalarColumns + kScale_column] = scale;
}

class ClipScale final : public tensor::Kernel {
 public:
  void run(const tensor::KernelArgs& args) const override {
    launch(clip_scale_kernel, {.blocks = dim3(1), .threads = dim3(kClipThreads)}, stream_of(args),
           args.outputs[0].as<double>(), args.outputs[1].as<double>(),
           args.inputs[0].as<const double>(), args.inputs[0].numel(), args.outputs[0].type.shape[0],
           args.run.device_scalars);
  }
};

}  // namespace

/// inputs: squares f64 [k], of parts of the gradient; outputs: rows of scalars f64 [n, 16], of
/// which grad_scale is set, and the norm f64 [1]. device_scalars: the step's weight, the largest
/// norm of the mean gradient. grad_scale = 1 / weight · min(1, largest / (norm / weight)).
std::unique_ptr<tensor::Kernel> make_clip_scale(const tensor::KernelSpec& spec,
                                                const DeviceLibraries&) {
  if (spec.inputs[0].dtype != DType::f64 || spec.outputs[0].dtype != DType::f64) return nullptr;
  return std::make_unique<ClipScale>();
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void add_kernel(float* out, const float* a, const float* b, std::int64_t count) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    out[i] = a[i] + b[i];
  }
}

class Add final : public tensor::Kernel {
 public:
  void run(const tensor::KernelArgs& args) const override {
    const std::int64_t count = args.outputs[0].numel();
    const auto blocks =
        static_cast<unsigned>(std::clamp<std::int64_t>((count + kThreads - 1) / kThreads, 1, 4096));
    launch(add_kernel, {.blocks = dim3(blocks), .threads = dim3(kThreads)}, stream_of(args),
           args.outputs[0].as<float>(), args.inputs[0].as<const float>(),
           args.inputs[1].as<const float>(), count);
  }
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_add(const tensor::KernelSpec& spec, const DeviceLibraries&) {
  if (spec.outputs[0].dtype != DType::f32) return nullptr;
  return std::make_unique<Add>();
}

}  // namespace dlt::cuda

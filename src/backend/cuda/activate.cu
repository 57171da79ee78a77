// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cuda/activate.h"
#include "backend/cuda/activation_math.h"
#include "backend/cuda/device.h"

namespace dlt::cuda {
namespace {

constexpr int kActivateThreads = 256;

__global__ void activate_kernel(Activate a, std::int64_t elements) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < elements; i += stride) {
    const float sum = a.bias == nullptr ? a.y[i] : a.y[i] + a.bias[i % a.columns];
    a.y[i] = activation_value(a.activation, sum, a.alpha);
  }
}

}  // namespace

void activate(const Activate& a, cudaStream_t stream) {
  const std::int64_t elements = a.rows * a.columns;
  if (elements == 0 || (a.bias == nullptr && a.activation == tensor::Activation::none)) return;
  const std::int64_t blocks =
      std::clamp<std::int64_t>((elements + kActivateThreads - 1) / kActivateThreads, 1, 8192);
  launch(activate_kernel,
         {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kActivateThreads)}, stream,
         a, elements);
}

}  // namespace dlt::cuda

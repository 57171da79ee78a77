// SPDX-License-Identifier: Apache-2.0
// A function of the index for each element, and small things that such kernels share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/device.h"
#include "tensor/kernel.h"

namespace dlt::cuda {

constexpr int kElementThreads = 256;

template <typename Op>
__global__ void __launch_bounds__(kElementThreads) each_element(std::int64_t count, Op op) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    op(i);
  }
}

/// op(i) for 0 <= i < count; a plain struct.
template <typename Op>
void launch_elements(std::int64_t count, const Op& op, cudaStream_t stream) {
  if (count == 0) return;
  constexpr std::int64_t kMostBlocks = 1 << 16;
  const std::int64_t blocks =
      std::min(kMostBlocks, (count + kElementThreads - 1) / kElementThreads);
  launch(each_element<Op>,
         {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kElementThreads)}, stream,
         count, op);
}

[[nodiscard]] __device__ inline bool is_nan(float x) { return x != x; }

/// Whether all floats of the spec are f32. Ids, labels and the like are other types.
[[nodiscard]] inline bool floats_are_f32(const tensor::KernelSpec& spec) {
  const auto other = [](const tensor::TensorType& type) {
    return type.dtype == DType::f64 || type.dtype == DType::f16 || type.dtype == DType::bf16;
  };
  return std::none_of(spec.inputs.begin(), spec.inputs.end(), other) &&
         std::none_of(spec.outputs.begin(), spec.outputs.end(), other);
}

}  // namespace dlt::cuda

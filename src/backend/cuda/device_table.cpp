// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device_table.h"

#include <cstdint>

#include <cuda_runtime_api.h>

#include "backend/cuda/check.h"

namespace dlt::cuda {

DeviceTable::DeviceTable(std::span<const float> numbers) {
  if (numbers.empty()) return;
  void* data = nullptr;
  DLT_CUDA(cudaMalloc(&data, numbers.size_bytes()));
  storage_ = tensor::Storage::adopt(data, static_cast<std::int64_t>(numbers.size_bytes()),
                                    [](void* memory) { (void)cudaFree(memory); });
  DLT_CUDA(cudaMemcpy(data, numbers.data(), numbers.size_bytes(), cudaMemcpyHostToDevice));
  // Its last part may still be on the way, and other queues do not wait for it.
  DLT_CUDA(cudaDeviceSynchronize());
}

}  // namespace dlt::cuda

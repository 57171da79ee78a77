// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <cuda_runtime_api.h>

#include "backend/cuda/check.h"
#include "backend/cuda/device_libraries.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {
namespace {

using Make = std::unique_ptr<tensor::Kernel> (*)(const tensor::KernelSpec&, const DeviceLibraries&);
struct Entry {
  std::string_view name;
  Make make;
};

#define DLT_FACTORY(name) Entry{#name, make_##name},
constexpr std::array kEntries = {
#include "backend/cuda/kernels.def"
};
#undef DLT_FACTORY

class CudaBackend final : public tensor::Backend {
 public:
  explicit CudaBackend(int device) : libraries_(device) {}

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] std::string description() const override { return libraries_.description(); }
  [[nodiscard]] tensor::Storage allocate(std::int64_t num_bytes) override;
  [[nodiscard]] tensor::Storage allocate_staging(std::int64_t num_bytes) override;
  [[nodiscard]] tensor::KernelFactory find(std::string_view kernel) const override {
    const auto found =
        std::lower_bound(kEntries.begin(), kEntries.end(), kernel,
                         [](const Entry& entry, std::string_view key) { return entry.name < key; });
    if (found == kEntries.end() || found->name != kernel) return nullptr;
    return [make = found->make, this](const tensor::KernelSpec& spec) {
      return make(spec, libraries_);
    };
  }
  [[nodiscard]] std::vector<std::string> kernels() const override {
    std::vector<std::string> names;
    for (const Entry& entry : kEntries) names.emplace_back(entry.name);
    return names;
  }
  void enter_thread() const override { DLT_CUDA(cudaSetDevice(libraries_.device())); }
  [[nodiscard]] bool in_host_memory() const override { return false; }
  [[nodiscard]] std::unique_ptr<tensor::Queue> make_queue() override { return make_stream_queue(); }
  [[nodiscard]] std::unique_ptr<tensor::Event> make_event(tensor::EventKind kind) override {
    return make_stream_event(kind);
  }
  [[nodiscard]] tensor::DeviceMemory memory() const override {
    std::size_t free = 0, total = 0;
    DLT_CUDA(cudaMemGetInfo(&free, &total));
    return {.free_bytes = static_cast<std::int64_t>(free),
            .total_bytes = static_cast<std::int64_t>(total)};
  }

 private:
  DeviceLibraries libraries_;
};

tensor::Storage CudaBackend::allocate(std::int64_t num_bytes) {
  if (num_bytes == 0) return {};
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, static_cast<std::size_t>(num_bytes));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    const tensor::DeviceMemory there = memory();
    throw Error(Exit::unavailable,
                cat("cuda: GPU ", libraries_.device(), ": ", tensor::kNo_room, num_bytes,
                    " bytes more: ", there.free_bytes, " of ", there.total_bytes, " are free"),
                "smaller leaves (more train.leaves) or train.memory_budget need less");
  }
  check(status, "cudaMalloc(num_bytes)");
  tensor::Storage storage =
      tensor::Storage::adopt(data, num_bytes, [](void* memory) { (void)cudaFree(memory); });
  DLT_CUDA(cudaMemset(data, 0, static_cast<std::size_t>(num_bytes)));
  // The memset is the default stream's work, for which other queues do not wait.
  DLT_CUDA(cudaDeviceSynchronize());
  return storage;
}

tensor::Storage CudaBackend::allocate_staging(std::int64_t num_bytes) {
  if (num_bytes == 0) return {};
  void* data = nullptr;
  DLT_CUDA(cudaHostAlloc(&data, static_cast<std::size_t>(num_bytes), cudaHostAllocPortable));
  std::fill_n(static_cast<std::byte*>(data), num_bytes, std::byte{0});
  return tensor::Storage::adopt(data, num_bytes, [](void* memory) { (void)cudaFreeHost(memory); });
}

}  // namespace

std::unique_ptr<tensor::Backend> make_cuda_backend(int device) {
  return std::make_unique<CudaBackend>(device);
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/list_gpus.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <string>

#include <cuda_runtime_api.h>

#include "backend/cuda/check.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += hex.data();
  }
  return text;
}

std::string pci_of(int device) {
  std::array<char, 32> id{};
  DLT_CUDA(cudaDeviceGetPCIBusId(id.data(), static_cast<int>(id.size()), device));
  std::string text(id.data());
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// As Linux knows it; -1 where it does not.
int numa_node_of(const std::string& pci) {
  std::ifstream file(cat("/sys/bus/pci/devices/", pci, "/numa_node"));
  int node = -1;
  return file >> node ? node : -1;
}

tensor::GpuInfo info_of(int device) {
  cudaDeviceProp properties{};
  DLT_CUDA(cudaGetDeviceProperties(&properties, device));
  int mode = 0;
  DLT_CUDA(cudaDeviceGetAttribute(&mode, cudaDevAttrComputeMode, device));
  tensor::GpuInfo info{.index = device,
                       .name = properties.name,
                       .uuid = uuid_text(properties.uuid),
                       .pci = pci_of(device),
                       .architecture = properties.major * 10 + properties.minor,
                       .exclusive = mode == cudaComputeModeExclusiveProcess,
                       .prohibited = mode == cudaComputeModeProhibited,
                       .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem)};
  info.numa_node = numa_node_of(info.pci);
  return info;
}

}  // namespace

std::vector<tensor::GpuInfo> list_gpus() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) count = 0;
  if (status == cudaErrorInsufficientDriver) {
    throw Error(Exit::unavailable,
                "no NVIDIA driver, or one that is older than this program's CUDA runtime needs");
  }
  if (status != cudaErrorNoDevice) check(status, "cudaGetDeviceCount(count)");
  if (count == 0) throw Error(Exit::unavailable, "the driver shows this process no GPU");
  std::vector<tensor::GpuInfo> gpus;
  for (int device = 0; device < count; ++device) gpus.push_back(info_of(device));
  return gpus;
}

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
// libcudart: errors, versions and devices.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "cuda_emulator/block.h"
#include "cuda_emulator/engine.h"

using namespace dlt::emulator;

namespace {

struct ErrorText {
  const char* name;
  const char* text;
};

const ErrorText& error_text(cudaError_t error) {
#define DLT_ERROR(code, text) \
  {                           \
    code, { #code, text }     \
  }
  static const std::map<int, ErrorText> texts{
      DLT_ERROR(cudaSuccess, "no error"),
      DLT_ERROR(cudaErrorInvalidValue, "invalid argument"),
      DLT_ERROR(cudaErrorMemoryAllocation, "out of memory"),
      DLT_ERROR(cudaErrorInitializationError, "initialization error"),
      DLT_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
      DLT_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
      DLT_ERROR(cudaErrorInsufficientDriver,
                "CUDA driver version is insufficient for CUDA runtime version"),
      DLT_ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
      DLT_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
      DLT_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
      DLT_ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
      DLT_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
      DLT_ERROR(cudaErrorNotReady, "device not ready"),
      DLT_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
      DLT_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
      DLT_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
      DLT_ERROR(cudaErrorHostMemoryAlreadyRegistered,
                "part or all of the requested memory range is already mapped"),
      DLT_ERROR(cudaErrorHostMemoryNotRegistered,
                "pointer does not correspond to a registered memory region"),
      DLT_ERROR(cudaErrorNotPermitted, "operation not permitted"),
      DLT_ERROR(cudaErrorNotSupported, "operation not supported"),
      DLT_ERROR(cudaErrorStreamCaptureUnsupported,
                "operation not permitted when stream is capturing"),
      DLT_ERROR(cudaErrorStreamCaptureInvalidated,
                "operation failed due to a previous error during capture"),
      DLT_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not initiated in this stream"),
      DLT_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
      DLT_ERROR(cudaErrorStreamCaptureIsolation,
                "dependency created on uncaptured work in another stream"),
      DLT_ERROR(cudaErrorStreamCaptureImplicit,
                "operation would make the legacy stream depend on a capturing blocking stream"),
      DLT_ERROR(cudaErrorCapturedEvent,
                "operation not permitted on an event last recorded in a capturing stream"),
      DLT_ERROR(cudaErrorStreamCaptureWrongThread,
                "attempt to terminate a thread-local capture sequence from another thread"),
  };
#undef DLT_ERROR
  static const ErrorText unknown{"cudaErrorUnknown", "unknown error"};
  const auto at = texts.find(error);
  return at == texts.end() ? unknown : at->second;
}

std::string pci_bus_id(const Device& device, int index) {
  if (!device.pci_bus_id.empty()) return device.pci_bus_id;
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0000:%02X:00.0",
                static_cast<unsigned>(index + 1) & 0xffu);
  return text.data();
}

cudaError_t check_device(const Engine& e, int device) {
  return device >= 0 && device < static_cast<int>(e.devices.size()) ? cudaSuccess
                                                                    : cudaErrorInvalidDevice;
}

cudaDeviceProp properties_of(const Device& device, int index) {
  cudaDeviceProp p{};
  device.name.copy(p.name, sizeof p.name - 1);
  std::string uuid = device.uuid;
  uuid.resize(sizeof p.uuid.bytes, static_cast<char>(index + 1));
  std::memcpy(p.uuid.bytes, uuid.data(), sizeof p.uuid.bytes);
  p.totalGlobalMem = static_cast<std::size_t>(device.memory_bytes);
  p.sharedMemPerBlock = 48 << 10;
  p.sharedMemPerBlockOptin = kMaxShared_bytes;
  p.sharedMemPerMultiprocessor = kMaxShared_bytes + 1024;
  p.reservedSharedMemPerBlock = 1024;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = device.major;
  p.minor = device.minor;
  p.multiProcessorCount = device.num_multiprocessors;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = 1;
  p.streamPrioritiesSupported = p.hostRegisterSupported = p.memoryPoolsSupported = 1;
  p.asyncEngineCount = 3;
  p.memoryBusWidth = 6144;
  p.l2CacheSize = 50 << 20;
  p.hostNumaId = p.deviceNumaId = -1;
  unsigned domain = 0, bus = 0, slot = 0;
  if (std::sscanf(pci_bus_id(device, index).c_str(), "%x:%x:%x", &domain, &bus, &slot) == 3) {
    p.pciDomainID = static_cast<int>(domain);
    p.pciBusID = static_cast<int>(bus);
    p.pciDeviceID = static_cast<int>(slot);
  }
  return p;
}

int attribute_of(const Device& device, cudaDeviceAttr attribute, int index) {
  const cudaDeviceProp p = properties_of(device, index);
  const std::map<int, int> values{
      {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(p.sharedMemPerBlock)},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(p.sharedMemPerBlockOptin)},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, static_cast<int>(p.sharedMemPerMultiprocessor)},
      {cudaDevAttrWarpSize, p.warpSize},
      {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
      {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
      {cudaDevAttrMaxBlocksPerMultiprocessor, p.maxBlocksPerMultiProcessor},
      {cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock},
      {cudaDevAttrComputeMode, device.compute_mode},
      {cudaDevAttrComputeCapabilityMajor, device.major},
      {cudaDevAttrComputeCapabilityMinor, device.minor},
      {cudaDevAttrPciDomainId, p.pciDomainID},
      {cudaDevAttrPciBusId, p.pciBusID},
      {cudaDevAttrPciDeviceId, p.pciDeviceID},
      {cudaDevAttrL2CacheSize, p.l2CacheSize},
      {cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth},
      {cudaDevAttrMemoryClockRate, 2619000},
      {cudaDevAttrClockRate, 1980000},
      {cudaDevAttrHostNumaId, p.hostNumaId},
      {cudaDevAttrMemoryPoolsSupported, 1},
      {cudaDevAttrCanMapHostMemory, 1},
      {cudaDevAttrUnifiedAddressing, 1},
  };
  const auto at = values.find(attribute);
  return at == values.end() ? 0 : at->second;
}

}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t error) { return error_text(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return error_text(error).text; }
cudaError_t cudaGetLastError() { return std::exchange(thread_state().last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return thread_state().last_error; }

cudaError_t cudaDriverGetVersion(int* version) {
  return api("cudaDriverGetVersion", Needs::nothing, [&](Engine&, Lock&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return api("cudaRuntimeGetVersion", Needs::nothing, [&](Engine&, Lock&) {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return api("cudaGetDeviceCount", [&](Engine& e, Lock&) {
    *count = static_cast<int>(e.devices.size());
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return api("cudaGetDevice", [&](Engine&, Lock&) {
    *device = thread_state().device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return api("cudaSetDevice", [&](Engine& e, Lock&) {
    if (check_device(e, device) != cudaSuccess) return cudaErrorInvalidDevice;
    const Device& properties = e.devices[static_cast<std::size_t>(device)].properties;
    if (properties.compute_mode == cudaComputeModeProhibited) return cudaErrorDevicesUnavailable;
    if (properties.full) return cudaErrorMemoryAllocation;
    thread_state().device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return api("cudaInitDevice", [&](Engine& e, Lock&) { return check_device(e, device); });
}
cudaError_t cudaSetDeviceFlags(unsigned) {
  return api("cudaSetDeviceFlags", [](Engine&, Lock&) { return cudaSuccess; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return api("cudaGetDeviceProperties", [&](Engine& e, Lock&) {
    if (check_device(e, device) != cudaSuccess) return cudaErrorInvalidDevice;
    *properties = properties_of(e.devices[static_cast<std::size_t>(device)].properties, device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return api("cudaDeviceGetAttribute", [&](Engine& e, Lock&) {
    if (check_device(e, device) != cudaSuccess) return cudaErrorInvalidDevice;
    *value =
        attribute_of(e.devices[static_cast<std::size_t>(device)].properties, attribute, device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  return api("cudaDeviceGetPCIBusId", [&](Engine& e, Lock&) {
    if (check_device(e, device) != cudaSuccess) return cudaErrorInvalidDevice;
    const std::string id =
        pci_bus_id(e.devices[static_cast<std::size_t>(device)].properties, device);
    if (size <= static_cast<int>(id.size())) return cudaErrorInvalidValue;
    std::memcpy(text, id.c_str(), id.size() + 1);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* text) {
  return api("cudaDeviceGetByPCIBusId", [&](Engine& e, Lock&) {
    for (std::size_t d = 0; d < e.devices.size(); ++d) {
      if (pci_bus_id(e.devices[d].properties, static_cast<int>(d)) != text) continue;
      *device = static_cast<int>(d);
      return cudaSuccess;
    }
    return cudaErrorInvalidDevice;
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return api("cudaDeviceCanAccessPeer", [&](Engine& e, Lock&) {
    *can = 0;
    return std::max(check_device(e, device), check_device(e, peer));
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return api("cudaDeviceGetStreamPriorityRange", [&](Engine&, Lock&) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return api("cudaDeviceSynchronize", [](Engine& e, Lock& lock) {
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    return e.wait_for_device(lock, thread_state().device);
  });
}

}  // extern "C"

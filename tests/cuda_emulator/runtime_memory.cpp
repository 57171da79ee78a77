// SPDX-License-Identifier: Apache-2.0
// libcudart: memory and copies.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda_emulator/engine.h"
#include "cuda_emulator/report.h"

using namespace dlt::emulator;

namespace {

enum class Kind { pageable, pinned, device, invalid };

/// What the whole range is; invalid if it begins in device memory and does not stay inside one
/// live allocation.
Kind kind_of(const Engine& e, const void* data, std::size_t bytes) {
  for (const GpuState& device : e.devices) {
    if (!device.memory->covers(data)) continue;
    const Allocation* in = device.memory->find(data);
    if (in == nullptr) return Kind::invalid;
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(data) - in->data);
    return bytes <= in->bytes - offset ? Kind::device : Kind::invalid;
  }
  return e.pinned.find(data) != nullptr ? Kind::pinned : Kind::pageable;
}

bool direction_fits(cudaMemcpyKind direction, Kind to, Kind from) {
  const bool to_device = to == Kind::device, from_device = from == Kind::device;
  switch (direction) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

/// A rectangle of rows; a plain copy has one.
struct Copy {
  void* to;
  std::size_t to_pitch;
  const void* from;
  std::size_t from_pitch;
  std::size_t width, height;
  cudaMemcpyKind direction;

  [[nodiscard]] std::size_t to_bytes() const { return to_pitch * (height - 1) + width; }
  [[nodiscard]] std::size_t from_bytes() const { return from_pitch * (height - 1) + width; }
  void run() const {
    for (std::size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<std::byte*>(to) + row * to_pitch,
                  static_cast<const std::byte*>(from) + row * from_pitch, width);
    }
  }
};

enum class Waits { no, yes };

cudaError_t copy(Engine& e, Lock& lock, Copy c, cudaStream_t handle, Waits waits) {
  CUstream_st* stream = e.find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (c.width == 0 || c.height == 0) return cudaSuccess;
  if (c.to == nullptr || c.from == nullptr || c.to_pitch < c.width || c.from_pitch < c.width) {
    return cudaErrorInvalidValue;
  }
  const Kind to = kind_of(e, c.to, c.to_bytes()), from = kind_of(e, c.from, c.from_bytes());
  if (to == Kind::invalid || from == Kind::invalid || !direction_fits(c.direction, to, from)) {
    return cudaErrorInvalidValue;
  }
  const bool is_captured = stream->capture != nullptr;
  if (is_captured && (to == Kind::pageable || from == Kind::pageable || waits == Waits::yes)) {
    stream->capture->is_invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  std::shared_ptr<std::vector<std::byte>> staged;
  if (from == Kind::pageable) {
    staged = std::make_shared<std::vector<std::byte>>(c.from_bytes());
    std::memcpy(staged->data(), c.from, c.from_bytes());
    c.from = staged->data();
  }
  if (!is_captured) ++e.counts.copies;
  const cudaError_t result =
      e.enqueue(lock, stream, "a copy", call_work("a copy", [c, staged] { c.run(); }));
  if (result != cudaSuccess || (to != Kind::pageable && waits == Waits::no)) return result;
  return e.wait_for_stream(lock, *stream);
}

cudaError_t set(Engine& e, Lock& lock, void* data, int value, std::size_t bytes,
                cudaStream_t handle) {
  CUstream_st* stream = e.find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const Kind kind = kind_of(e, data, bytes);
  if (kind != Kind::device && kind != Kind::pinned) return cudaErrorInvalidValue;
  const auto run = [data, value, bytes] { std::memset(data, value, bytes); };
  return e.enqueue(lock, stream, "a memset", call_work("a memset", run));
}

GpuState& current(Engine& e) { return e.devices[static_cast<std::size_t>(thread_state().device)]; }

cudaError_t allocate(Engine& e, void** data, std::size_t bytes) {
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  GpuState& device = current(e);
  *data = device.memory->allocate(bytes, static_cast<std::size_t>(device.properties.memory_bytes));
  ++e.counts.allocations;
  return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t free_device(Engine& e, void* data) {
  for (GpuState& device : e.devices) {
    if (device.memory->covers(data)) {
      return device.memory->free(data) ? cudaSuccess : cudaErrorInvalidValue;
    }
  }
  return cudaErrorInvalidValue;
}

cudaError_t allocate_pinned(const char* function, void** data, std::size_t bytes, unsigned flags) {
  return api(function, [&](Engine& e, Lock&) {
    *data = nullptr;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    if (bytes == 0) return cudaSuccess;
    *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*data == nullptr) return cudaErrorMemoryAllocation;
    std::memset(*data, 0xff, bytes);
    e.pinned.add(*data, {bytes, false, flags});
    ++e.counts.allocations;
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** data, size_t bytes) {
  return api("cudaMalloc", [&](Engine& e, Lock&) {
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    return allocate(e, data, bytes);
  });
}

cudaError_t cudaFree(void* data) {
  return api("cudaFree", [&](Engine& e, Lock& lock) {
    if (data == nullptr) return cudaSuccess;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    if (const cudaError_t error = e.wait_for_device(lock, thread_state().device)) return error;
    return free_device(e, data);
  });
}

cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t handle) {
  return api("cudaMallocAsync", [&](Engine& e, Lock&) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      stream->capture->is_invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return allocate(e, data, bytes);
  });
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t handle) {
  return api("cudaFreeAsync", [&](Engine& e, Lock& lock) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (kind_of(e, data, 1) != Kind::device) return cudaErrorInvalidValue;
    if (stream->capture != nullptr) {
      stream->capture->is_invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return e.enqueue(lock, stream, "cudaFreeAsync", call_work("cudaFreeAsync", [&e, data] {
                       if (free_device(e, data) != cudaSuccess) fail("cudaFreeAsync: freed twice");
                     }));
  });
}

cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return allocate_pinned("cudaMallocHost", data, bytes, 0);
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags) {
  return allocate_pinned("cudaHostAlloc", data, bytes, flags);
}

cudaError_t cudaFreeHost(void* data) {
  return api("cudaFreeHost", [&](Engine& e, Lock& lock) {
    if (data == nullptr) return cudaSuccess;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    if (const cudaError_t error = e.wait_for_device(lock, thread_state().device)) return error;
    const auto* range = e.pinned.find(data);
    if (range == nullptr || range->first != data || range->second.is_registered) {
      return cudaErrorInvalidValue;
    }
    e.pinned.remove(data);
    std::free(data);
    return cudaSuccess;
  });
}

cudaError_t cudaHostRegister(void* data, size_t bytes, unsigned flags) {
  return api("cudaHostRegister", [&](Engine& e, Lock&) {
    if (data == nullptr || bytes == 0) return cudaErrorInvalidValue;
    if (e.pinned.find(data) != nullptr) return cudaErrorHostMemoryAlreadyRegistered;
    e.pinned.add(data, {bytes, true, flags});
    return cudaSuccess;
  });
}

cudaError_t cudaHostUnregister(void* data) {
  return api("cudaHostUnregister", [&](Engine& e, Lock& lock) {
    if (const cudaError_t error = e.wait_for_device(lock, thread_state().device)) return error;
    const auto* range = e.pinned.find(data);
    if (range == nullptr || range->first != data || !range->second.is_registered) {
      return cudaErrorHostMemoryNotRegistered;
    }
    e.pinned.remove(data);
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  return api("cudaHostGetDevicePointer", [&](Engine& e, Lock&) {
    if (e.pinned.find(host) == nullptr) return cudaErrorInvalidValue;
    *device = host;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return api("cudaMemGetInfo", [&](Engine& e, Lock&) {
    const GpuState& device = current(e);
    *total = static_cast<std::size_t>(device.properties.memory_bytes);
    *free = *total - std::min(*total, device.memory->used_bytes());
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  return api("cudaPointerGetAttributes", [&](Engine& e, Lock&) {
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -2;
    for (std::size_t d = 0; d < e.devices.size(); ++d) {
      if (e.devices[d].memory->find(data) == nullptr) continue;
      attributes->type = cudaMemoryTypeDevice;
      attributes->device = static_cast<int>(d);
      attributes->devicePointer = const_cast<void*>(data);
      return cudaSuccess;
    }
    attributes->hostPointer = const_cast<void*>(data);
    if (e.pinned.find(data) != nullptr) {
      attributes->type = cudaMemoryTypeHost;
      attributes->device = thread_state().device;
      attributes->devicePointer = const_cast<void*>(data);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind direction,
                            cudaStream_t stream) {
  return api("cudaMemcpyAsync", [&](Engine& e, Lock& lock) {
    return copy(e, lock, {to, bytes, from, bytes, bytes, 1, direction}, stream, Waits::no);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind direction) {
  return api("cudaMemcpy", [&](Engine& e, Lock& lock) {
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    return copy(e, lock, {to, bytes, from, bytes, bytes, 1, direction}, nullptr, Waits::yes);
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind direction,
                              cudaStream_t stream) {
  return api("cudaMemcpy2DAsync", [&](Engine& e, Lock& lock) {
    return copy(e, lock, {to, to_pitch, from, from_pitch, width, height, direction}, stream,
                Waits::no);
  });
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                         size_t width, size_t height, cudaMemcpyKind direction) {
  return api("cudaMemcpy2D", [&](Engine& e, Lock& lock) {
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    return copy(e, lock, {to, to_pitch, from, from_pitch, width, height, direction}, nullptr,
                Waits::yes);
  });
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return api("cudaMemsetAsync",
             [&](Engine& e, Lock& lock) { return set(e, lock, data, value, bytes, stream); });
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  return api("cudaMemset", [&](Engine& e, Lock& lock) {
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    return set(e, lock, data, value, bytes, nullptr);
  });
}

}  // extern "C"

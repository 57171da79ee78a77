// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/launch.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "cuda_emulator/engine.h"
#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

constexpr std::size_t kMaxArguments_bytes = 32764;

bool is_legal(const GridShape& shape) {
  const dim3 b = shape.blocks, t = shape.threads;
  const auto in = [](unsigned n, unsigned most) { return n >= 1 && n <= most; };
  return in(b.x, 0x7fffffff) && in(b.y, 65535) && in(b.z, 65535) && in(t.x, 1024) &&
         in(t.y, 1024) && in(t.z, 64) && t.x * t.y * t.z <= 1024 &&
         shape.shared_bytes <= kMaxShared_bytes;
}

/// The stack of the calling thread: an address in it never is a kernel's business.
bool is_on_stack(const void* address) {
  static thread_local std::uintptr_t low = 0, high = 0;
  if (high == 0) {
    pthread_attr_t attributes;
    void* base = nullptr;
    std::size_t bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return false;
    pthread_attr_getstack(&attributes, &base, &bytes);
    pthread_attr_destroy(&attributes);
    low = reinterpret_cast<std::uintptr_t>(base);
    high = low + bytes;
  }
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at >= low && at < high;
}

/// Looks at every word that could be an address: a pointer argument, or a field of a struct.
void check_word(const Engine& e, const Launch& launch, int device, const void* word,
                bool is_pointer) {
  const auto refuse = [&](const std::string& what) {
    fail("kernel " + function_name(launch.kernel) + ": a pointer among its arguments " + what);
  };
  for (std::size_t d = 0; d < e.devices.size(); ++d) {
    const DeviceMemory& memory = *e.devices[d].memory;
    if (!memory.covers(word)) continue;
    if (static_cast<int>(d) != device) refuse("is memory of device " + std::to_string(d));
    if (memory.find(word) == nullptr) refuse("is device memory that has been freed");
    return;
  }
  if (is_pointer && word != nullptr && e.pinned.find(word) == nullptr) refuse("is host memory");
  if (!is_pointer && is_on_stack(word)) refuse("is the launching thread's stack");
}

void check_arguments(const Engine& e, const Launch& launch, int device,
                     std::span<const Argument> arguments) {
  std::size_t num_bytes = 0;
  for (const Argument& argument : arguments) {
    num_bytes += argument.num_bytes;
    for (std::size_t at = 0; at + sizeof(void*) <= argument.num_bytes; at += sizeof(void*)) {
      const void* word = nullptr;
      std::memcpy(&word, static_cast<const std::byte*>(argument.bytes) + at, sizeof word);
      check_word(e, launch, device, word, argument.is_pointer);
    }
  }
  if (num_bytes > kMaxArguments_bytes) {
    fail("kernel " + function_name(launch.kernel) + ": " + std::to_string(num_bytes) +
         " bytes of arguments, at most " + std::to_string(kMaxArguments_bytes));
  }
}

}  // namespace

cudaError_t launch_kernel(const Launch& launch, std::span<const Argument> arguments) {
  return api("cudaLaunchKernel", [&](Engine& e, Lock& lock) {
    CUstream_st* stream = e.find(launch.stream);
    if (stream == nullptr || stream->device != thread_state().device) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!is_legal(launch.shape)) return cudaErrorInvalidConfiguration;
    check_arguments(e, launch, stream->device, arguments);
    if (stream->capture == nullptr) ++e.counts.kernels;
    return e.enqueue(
        lock, stream, "a kernel", call_work("a kernel", [&e, launch] {
          run_grid({launch.shape, launch.body, launch.arguments.get(), launch.kernel}, e.random);
        }));
  });
}

}  // namespace dlt::emulator

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/kernel.h"
#include "tensor/queue.h"
#include "tensor/storage.h"

namespace dlt::tensor {

enum class EventKind : std::uint8_t { order, timing };

/// Part of the message of allocate()'s Error(Exit::unavailable) where the device's memory is too
/// small for what is asked for.
inline constexpr std::string_view kNo_room = "no room for ";

struct DeviceMemory {
  std::int64_t free_bytes = 0;
  std::int64_t total_bytes = 0;
};

/// A device: its memory and its kernels. Names of kernels are the op names of src/ops/ops.def.
class Backend {
 public:
  virtual ~Backend() = default;
  /// "cpu"
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// One line for people: "avx512, oneDNN 2.6.3".
  [[nodiscard]] virtual std::string description() const = 0;
  [[nodiscard]] virtual Storage allocate(std::int64_t num_bytes) = 0;
  /// The device's own kernel of that name, or null: the caller then uses the op's host kernel.
  [[nodiscard]] virtual KernelFactory find(std::string_view kernel) const = 0;
  [[nodiscard]] virtual std::vector<std::string> kernels() const = 0;
  /// To be called once by each thread that will make or run kernels, before it does (keeps
  /// libraries with thread pools of their own to one thread).
  virtual void enter_thread() const = 0;

  // A device with memory of its own has more than that; the defaults are those of host memory.

  /// Whether memory of allocate() is the host's, and kernels run on the calling thread.
  [[nodiscard]] virtual bool in_host_memory() const { return true; }
  /// Host memory that the device copies from and to beside the host. Zeroed.
  [[nodiscard]] virtual Storage allocate_staging(std::int64_t num_bytes) {
    return Storage::allocate(num_bytes);
  }
  /// Null in host memory.
  [[nodiscard]] virtual std::unique_ptr<Queue> make_queue() { return nullptr; }
  [[nodiscard]] virtual std::unique_ptr<Event> make_event(EventKind /*kind*/) { return nullptr; }
  [[nodiscard]] virtual DeviceMemory memory() const { return {}; }
};

/// The device's kernel of that name, which the caller cannot do without.
/// errors  Error(Exit::unavailable) naming device and kernel
[[nodiscard]] std::unique_ptr<Kernel> require_kernel(const Backend& backend, std::string_view name,
                                                     const KernelSpec& spec);

/// Copies and waits: for what is not in a hurry. In host memory a plain copy.
void copy_now(Backend& backend, void* to, const void* from, std::int64_t num_bytes);

/// Host memory; the widest instructions this CPU has, or those named: "auto", "avx2", "avx512".
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(std::string_view isa = "auto");

}  // namespace dlt::tensor

// SPDX-License-Identifier: Apache-2.0
#include "tensor/backend.h"

#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {

std::unique_ptr<Kernel> require_kernel(const Backend& backend, std::string_view name,
                                       const KernelSpec& spec) {
  const KernelFactory factory = backend.find(name);
  std::unique_ptr<Kernel> kernel = factory != nullptr ? factory(spec) : nullptr;
  if (kernel != nullptr) return kernel;
  throw Error(Exit::unavailable, cat(backend.name(), ": has no kernel ", name));
}

void copy_now(Backend& backend, void* to, const void* from, std::int64_t num_bytes) {
  if (num_bytes == 0) return;
  const std::unique_ptr<Queue> queue = backend.make_queue();
  if (queue == nullptr) {
    std::memcpy(to, from, static_cast<std::size_t>(num_bytes));
    return;
  }
  queue->copy(to, from, num_bytes);
  queue->wait();
}

}  // namespace dlt::tensor

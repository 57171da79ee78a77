// SPDX-License-Identifier: Apache-2.0
#include "tensor/backend.h"

#include <cstring>

namespace dlt::tensor {

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

// SPDX-License-Identifier: Apache-2.0
#include "tensor/host_copies.h"

#include <cstddef>

namespace dlt::tensor {

HostCopies::HostCopies(std::span<const View> there) : there_(there) {
  for (const View& view : there_) {
    memory_.emplace_back(view.type.shape, view.type.dtype);
    here_.push_back({memory_.back().bytes(), view.type});
  }
}

void HostCopies::fetch(Queue& queue) const {
  for (std::size_t i = 0; i < here_.size(); ++i) {
    queue.copy(here_[i].data, there_[i].data, here_[i].type.bytes());
  }
}

void HostCopies::send(Queue& queue) const {
  for (std::size_t i = 0; i < here_.size(); ++i) {
    queue.copy(there_[i].data, here_[i].data, here_[i].type.bytes());
  }
}

}  // namespace dlt::tensor

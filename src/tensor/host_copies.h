// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "tensor/kernel.h"
#include "tensor/queue.h"
#include "tensor/tensor.h"

namespace dlt::tensor {

/// Host memory of the types of some views in a device's memory.
class HostCopies {
 public:
  explicit HostCopies(std::span<const View> there);
  [[nodiscard]] std::span<const View> views() const { return here_; }
  /// From the device, or to it: given to the queue.
  void fetch(Queue& queue) const;
  void send(Queue& queue) const;

 private:
  std::span<const View> there_;
  std::vector<Tensor> memory_;
  std::vector<View> here_;
};

}  // namespace dlt::tensor

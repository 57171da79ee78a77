// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "tensor/storage.h"

namespace dlt::cuda {

/// Numbers in device memory that a kernel brings along, made with it.
class DeviceTable {
 public:
  /// Copies and waits. errors  Error(Exit::unavailable) if the device has no room
  explicit DeviceTable(std::span<const float> numbers);
  /// Null if there are none.
  [[nodiscard]] const float* data() const {
    return reinterpret_cast<const float*>(storage_.data());
  }

 private:
  tensor::Storage storage_;
};

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/backend.h"

namespace dlt::support {

/// A device without kernels of its own: every op runs its host kernel. Memory is poisoned (all bits
/// set: NaN as f32 and f64), so that reading what nobody wrote shows.
class HostBackend : public tensor::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return "host"; }
  [[nodiscard]] std::string description() const override { return "host kernels"; }
  [[nodiscard]] tensor::Storage allocate(std::int64_t num_bytes) override {
    tensor::Storage storage = tensor::Storage::allocate(num_bytes);
    if (num_bytes > 0) std::memset(storage.data(), 0xFF, static_cast<std::size_t>(num_bytes));
    return storage;
  }
  [[nodiscard]] tensor::KernelFactory find(std::string_view) const override { return nullptr; }
  [[nodiscard]] std::vector<std::string> kernels() const override { return {}; }
  void enter_thread() const override {}
};

}  // namespace dlt::support

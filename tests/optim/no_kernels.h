// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tensor/backend.h"

namespace dlt::optim {

/// A device without kernels: optimisers fall back to their host functions.
class NoKernels final : public tensor::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return "none"; }
  [[nodiscard]] std::string description() const override { return "no kernels"; }
  [[nodiscard]] tensor::Storage allocate(std::int64_t num_bytes) override {
    return tensor::Storage::allocate(num_bytes);
  }
  [[nodiscard]] tensor::KernelFactory find(std::string_view /*kernel*/) const override {
    return nullptr;
  }
  [[nodiscard]] std::vector<std::string> kernels() const override { return {}; }
  void enter_thread() const override {}
};

}  // namespace dlt::optim

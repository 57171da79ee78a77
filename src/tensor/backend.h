// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/kernel.h"
#include "tensor/storage.h"

namespace dlt::tensor {

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
};

/// Host memory; the widest instructions this CPU has, or those named: "auto", "avx2", "avx512".
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(std::string_view isa = "auto");

}  // namespace dlt::tensor

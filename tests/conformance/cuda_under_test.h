// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace dlt::test {

/// The CUDA back end that this program tests: on the emulator or on a real GPU. Null with the
/// reason in why_not where there is none.
struct CudaUnderTest {
  std::unique_ptr<tensor::Backend> backend;
  std::string why_not;
};
[[nodiscard]] CudaUnderTest open_cuda();

}  // namespace dlt::test

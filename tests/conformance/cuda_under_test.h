// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace dlt::test {

/// The back end that a program tests; null with the reason in why_not where there is none.
struct DeviceUnderTest {
  std::unique_ptr<tensor::Backend> backend;
  std::string why_not;
};
/// CUDA's: on the emulator or on a real GPU.
[[nodiscard]] DeviceUnderTest open_cuda();

}  // namespace dlt::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "tensor/backend.h"

namespace dlt::nn {

/// What this program's models run on; null with the reason in why_not where it is not there.
struct GoldenDevice {
  std::unique_ptr<tensor::Backend> backend;
  std::string why_not;
};
[[nodiscard]] GoldenDevice golden_device();

}  // namespace dlt::nn

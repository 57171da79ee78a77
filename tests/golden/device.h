// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conformance/cuda_under_test.h"

namespace dlt::nn {

/// What this program's models run on.
[[nodiscard]] test::DeviceUnderTest golden_device();

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "tensor/gpus.h"

namespace dlt::cuda {

/// The GPUs this process sees, without a context on any of them: free memory is not asked for.
/// errors  Error(Exit::unavailable) saying what is missing if there is none
[[nodiscard]] std::vector<tensor::GpuInfo> list_gpus();

}  // namespace dlt::cuda

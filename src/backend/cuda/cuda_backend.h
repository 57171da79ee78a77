// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "tensor/backend.h"

namespace dlt::cuda {

/// The GPU of that index among those this process sees.
/// errors  Error(Exit::unavailable) if it cannot be used
[[nodiscard]] std::unique_ptr<tensor::Backend> make_cuda_backend(int device);

}  // namespace dlt::cuda

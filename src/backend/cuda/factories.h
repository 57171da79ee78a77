// SPDX-License-Identifier: Apache-2.0
// What each line of kernels.def stands for.
#pragma once

#include <memory>

#include "backend/cuda/device_libraries.h"
#include "tensor/kernel.h"

namespace dlt::cuda {

#define DLT_FACTORY(name)                                                                   \
  [[nodiscard]] std::unique_ptr<tensor::Kernel> make_##name(const tensor::KernelSpec& spec, \
                                                            const DeviceLibraries& libraries);
#include "backend/cuda/kernels.def"
#undef DLT_FACTORY

}  // namespace dlt::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <cuda_runtime_api.h>

#include "cuda_emulator/block.h"

namespace dlt::emulator {

/// A kernel's arguments as a launch finds them: their bytes, and whether one is a plain pointer.
struct Argument {
  const void* bytes;
  std::size_t num_bytes;
  bool is_pointer;
};

struct Launch {
  GridShape shape;
  cudaStream_t stream = nullptr;
  const void* kernel = nullptr;
  void (*body)(const void* arguments) = nullptr;
  std::shared_ptr<const void> arguments;  // copied at the launch, as CUDA does
};
/// What launch() of the dialect calls. Ends the process if an argument is a pointer to memory that
/// a kernel cannot touch.
cudaError_t launch_kernel(const Launch& launch, std::span<const Argument> arguments);

}  // namespace dlt::emulator

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <cuda_runtime_api.h>

#include "tensor/backend.h"

namespace dlt::cuda {

/// Of the device that is current on the calling thread.
[[nodiscard]] std::unique_ptr<tensor::Queue> make_stream_queue();
[[nodiscard]] std::unique_ptr<tensor::Event> make_stream_event(tensor::EventKind kind);

/// The stream that a kernel's work goes to.
[[nodiscard]] inline cudaStream_t stream_of(const tensor::KernelArgs& args) {
  return static_cast<cudaStream_t>(args.run.queue->handle());
}

}  // namespace dlt::cuda

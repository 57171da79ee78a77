// SPDX-License-Identifier: Apache-2.0
// The library's one door: tensor::Gpus opens it at run time.
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/list_gpus.h"
#include "tensor/gpus.h"

extern "C" [[gnu::visibility("default")]] void dltrain_cuda_plugin(dlt::tensor::GpuPlugin* out) {
  out->interface = dlt::tensor::GpuPlugin::kInterface;
  out->make = dlt::cuda::make_cuda_backend;
  out->list = dlt::cuda::list_gpus;
}

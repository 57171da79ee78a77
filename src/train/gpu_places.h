// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"
#include "tensor/gpu_placement.h"
#include "tensor/gpus.h"

namespace dlt::train {

struct GpuPlaces {
  tensor::GpuChoice mine;             // peers: ranks of the job
  std::vector<std::string> warnings;  // about all ranks; the same on all of them
};

/// Divides the GPUs of each host among its ranks by what these say of their cores and of the GPUs
/// they see. gpus: those of this rank. Collective.
[[nodiscard]] GpuPlaces place_ranks(comm::Communicator& comm,
                                    const std::vector<tensor::GpuInfo>& gpus);

}  // namespace dlt::train

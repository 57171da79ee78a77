// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

namespace dlt::tensor {

/// A GPU as one rank sees it.
struct SeenGpu {
  std::string uuid;    // the same GPU has the same on all ranks
  int numa_node = -1;  // -1: not known
};

/// A rank of this host and the GPUs it sees.
struct GpuSeeker {
  int numa_node = -1;  // of its cores; -1: they are on several, or it is not known
  std::vector<SeenGpu> gpus;
};

struct GpuChoice {
  int index = -1;          // among those the rank sees; -1: it sees none
  std::string why;         // "as its cores"; "" where there is nothing to say
  std::vector<int> peers;  // others of these ranks on the same GPU, ascending
};

/// Which GPU each rank of a host takes, in local order. Every GPU is taken once before any is taken
/// twice, as far as the ranks see them; a GPU on the NUMA node of the rank's cores comes before
/// others, then the first in the rank's list. Depends on nothing else.
[[nodiscard]] std::vector<GpuChoice> place_on_gpus(std::span<const GpuSeeker> ranks);

}  // namespace dlt::tensor

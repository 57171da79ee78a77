// SPDX-License-Identifier: Apache-2.0
#include "train/gpu_places.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/cpu.h"
#include "base/text.h"

namespace dlt::train {
namespace {

/// "NODE UUID NODE UUID NODE ...": of the cores, then of each GPU.
std::string seat_text(const tensor::GpuSeeker& rank) {
  std::ostringstream out;
  out << rank.numa_node;
  for (const tensor::SeenGpu& gpu : rank.gpus) out << ' ' << gpu.uuid << ' ' << gpu.numa_node;
  return out.str();
}

tensor::GpuSeeker read_seeker(const std::string& text) {
  tensor::GpuSeeker rank;
  std::istringstream in(text);
  in >> rank.numa_node;
  for (tensor::SeenGpu gpu; in >> gpu.uuid >> gpu.numa_node;) rank.gpus.push_back(gpu);
  return rank;
}

/// Of several ranks on one GPU.
std::string sharing_text(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::vector<std::string> names;
  for (const int rank : ranks) names.push_back(cat(rank));
  return cat("warning: ranks ", join(names),
             " share one GPU: they take turns on it, each holds the whole model in its memory, and "
             "what they send each other goes by way of the host; one rank for each GPU is faster");
}

}  // namespace

GpuPlaces place_ranks(comm::Communicator& comm, const std::vector<tensor::GpuInfo>& gpus) {
  tensor::GpuSeeker mine{.numa_node = numa_node_of(allowed_cores()), .gpus = {}};
  for (const tensor::GpuInfo& gpu : gpus) {
    mine.gpus.push_back({gpu.uuid.empty() ? gpu.pci : gpu.uuid, gpu.numa_node});
  }
  const std::vector<std::string> all = comm::allgather_text(comm, seat_text(mine));
  GpuPlaces out;
  for (const std::vector<int>& ranks : comm.hosts()) {
    std::vector<tensor::GpuSeeker> seekers;
    for (const int rank : ranks)
      seekers.push_back(read_seeker(all.at(static_cast<std::size_t>(rank))));
    std::vector<tensor::GpuChoice> choices = tensor::place_on_gpus(seekers);
    for (std::size_t local = 0; local < ranks.size(); ++local) {
      tensor::GpuChoice& choice = choices[local];
      for (int& peer : choice.peers) peer = ranks[static_cast<std::size_t>(peer)];
      if (!choice.peers.empty() && choice.peers.front() > ranks[local]) {
        std::vector<int> sharing = choice.peers;
        sharing.push_back(ranks[local]);
        out.warnings.push_back(sharing_text(std::move(sharing)));
      }
      if (ranks[local] == comm.rank()) out.mine = choice;
    }
  }
  return out;
}

}  // namespace dlt::train

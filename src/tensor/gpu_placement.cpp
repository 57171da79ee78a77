// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpu_placement.h"

#include <algorithm>
#include <cstddef>
#include <map>

#include "base/text.h"

namespace dlt::tensor {
namespace {

/// One round gives each GPU to at most one rank: a matching that grows along augmenting paths, so
/// that a rank gives way to one that sees fewer GPUs. Ranks and GPUs that have a partner keep one.
class Round {
 public:
  explicit Round(std::span<const GpuSeeker> ranks)
      : ranks_(ranks), taken_(ranks.size(), kNone), done_(ranks.size(), false) {
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      done_[rank] = ranks[rank].gpus.empty();
    }
  }
  [[nodiscard]] bool wanted() const {
    return std::find(done_.begin(), done_.end(), false) != done_.end();
  }
  /// Ranks that have none so far, as many as possible.
  void play() {
    holder_.clear();
    for (const bool near_only : {true, false}) {
      for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
        if (done_[rank] || taken_[rank] != kNone) continue;
        asked_.clear();
        (void)find_for(rank, near_only);
      }
    }
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (taken_[rank] != kNone) done_[rank] = true;
    }
  }
  [[nodiscard]] std::size_t taken(std::size_t rank) const { return taken_[rank]; }
  static constexpr auto kNone = static_cast<std::size_t>(-1);

 private:
  /// Its GPUs, near ones first.
  [[nodiscard]] std::vector<std::size_t> wishes(std::size_t rank, bool near_only) const {
    const GpuSeeker& seeker = ranks_[rank];
    const auto near = [&](std::size_t gpu) {
      return seeker.numa_node >= 0 && seeker.gpus[gpu].numa_node == seeker.numa_node;
    };
    std::vector<std::size_t> out;
    for (std::size_t gpu = 0; gpu < seeker.gpus.size(); ++gpu) {
      if (near(gpu)) out.push_back(gpu);
    }
    for (std::size_t gpu = 0; gpu < seeker.gpus.size() && !near_only; ++gpu) {
      if (!near(gpu)) out.push_back(gpu);
    }
    return out;
  }
  bool find_for(std::size_t rank, bool near_only) {
    const std::vector<std::size_t> all = wishes(rank, near_only);
    const auto give = [&](std::size_t gpu) {
      holder_[ranks_[rank].gpus[gpu].uuid] = rank;
      taken_[rank] = gpu;
      return true;
    };
    for (const std::size_t gpu : all) {
      if (holder_.count(ranks_[rank].gpus[gpu].uuid) == 0) return give(gpu);
    }
    for (const std::size_t gpu : all) {
      const std::string& uuid = ranks_[rank].gpus[gpu].uuid;
      if (std::find(asked_.begin(), asked_.end(), uuid) != asked_.end()) continue;
      asked_.push_back(uuid);
      if (find_for(holder_.at(uuid), near_only)) return give(gpu);
    }
    return false;
  }

  std::span<const GpuSeeker> ranks_;
  std::vector<std::size_t> taken_;             // by each rank, in whichever round
  std::vector<bool> done_;                     // in an earlier round, or in need of none
  std::map<std::string, std::size_t> holder_;  // in this round: the rank of each GPU
  std::vector<std::string> asked_;             // GPUs on the path at hand
};

std::string reason(const GpuSeeker& rank, std::size_t gpu) {
  if (rank.gpus.size() == 1) return "the only one it sees";
  const int node = rank.gpus[gpu].numa_node;
  if (rank.numa_node < 0 || node < 0) return "";
  if (rank.numa_node == node) return "as its cores";
  const bool has_near = std::any_of(rank.gpus.begin(), rank.gpus.end(), [&](const SeenGpu& other) {
    return other.numa_node == rank.numa_node;
  });
  return cat("its cores are on node ", rank.numa_node,
             has_near ? ", whose GPUs are taken" : ", which has none");
}

}  // namespace

std::vector<GpuChoice> place_on_gpus(std::span<const GpuSeeker> ranks) {
  Round round(ranks);
  while (round.wanted()) round.play();
  std::map<std::string, std::vector<int>> users;
  std::vector<GpuChoice> out(ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::size_t gpu = round.taken(rank);
    if (gpu == Round::kNone) continue;
    out[rank].index = static_cast<int>(gpu);
    out[rank].why = reason(ranks[rank], gpu);
    users[ranks[rank].gpus[gpu].uuid].push_back(static_cast<int>(rank));
  }
  for (const auto& [uuid, all] : users) {
    for (const int rank : all) {
      std::vector<int>& peers = out[static_cast<std::size_t>(rank)].peers;
      std::copy_if(all.begin(), all.end(), std::back_inserter(peers),
                   [&](int other) { return other != rank; });
    }
  }
  return out;
}

}  // namespace dlt::tensor

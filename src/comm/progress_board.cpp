// SPDX-License-Identifier: Apache-2.0
#include "comm/progress_board.h"

#include "base/text.h"

namespace dlt::comm {

ProgressBoard::ProgressBoard(Communicator& host) : host_(&host), ranks_(ranks_of_host(host)) {
  memory_ = host.share(static_cast<std::int64_t>(sizeof(std::int64_t)));
}

/// The step a rank is at, plus one: memory begins as zeros.
std::atomic_ref<std::int64_t> ProgressBoard::word(int local_rank) const {
  return std::atomic_ref(*reinterpret_cast<std::int64_t*>(memory_->segment(local_rank)));
}

void ProgressBoard::post(std::int64_t step) {
  step_ = step;
  if (memory_ != nullptr) word(host_->local_rank()).store(step + 1);
}

std::string ProgressBoard::behind() const {
  std::vector<std::string> texts;
  for (int rank = 0; rank < host_->world_size(); ++rank) {
    if (rank != host_->rank() && host_->knows_lost(rank))
      texts.push_back(cat("rank ", rank, " is gone"));
  }
  if (!texts.empty()) return join(texts);
  for (std::size_t local = 0; memory_ != nullptr && local < ranks_.size(); ++local) {
    const std::int64_t step = word(static_cast<int>(local)).load() - 1;
    if (step >= step_) continue;
    texts.push_back(step < 0 ? cat("rank ", ranks_[local], " has begun no step")
                             : cat("rank ", ranks_[local], " is at step ", step));
  }
  if (!texts.empty()) return join(texts);
  return memory_ == nullptr ? "which rank did not come is not known"
                            : cat("the ranks of this host have all begun step ", step_);
}

}  // namespace dlt::comm

// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/early_deaths.h"

#include <algorithm>

namespace dlt::supervise {
namespace {

/// A starter has started all ranks of its machine so long after the first of them.
constexpr double kAll_started_s = 1;

}  // namespace

void EarlyDeaths::begin(std::int32_t here, std::int32_t ranks) {
  here_ = here;
  ranks_ = ranks;
  first_seen_s_ = -1;
  seen_.clear();
  told_.clear();
}

bool EarlyDeaths::done(const std::function<bool(std::int32_t)>& spoke) const {
  if (!all_here()) return std::count_if(seen_.begin(), seen_.end(), spoke) >= here_;
  for (std::int32_t rank = 0; rank < ranks_; ++rank) {
    if (!spoke(rank)) return false;
  }
  return true;
}

std::vector<std::int32_t> EarlyDeaths::look(double now_s, const std::vector<RankProcess>& there,
                                            const std::function<bool(std::int32_t)>& spoke) {
  if (!there.empty() && first_seen_s_ < 0) first_seen_s_ = now_s;
  for (const RankProcess& process : there) seen_.insert(process.rank);
  const auto is_there = [&](std::int32_t rank) {
    return std::any_of(there.begin(), there.end(),
                       [&](const RankProcess& process) { return process.rank == rank; });
  };
  std::vector<std::int32_t> gone;
  const auto miss = [&](std::int32_t rank) {
    if (!spoke(rank) && !is_there(rank) && told_.insert(rank).second) gone.push_back(rank);
  };
  for (const std::int32_t rank : seen_) miss(rank);
  // Which ranks other machines have, nobody here knows.
  if (all_here() && first_seen_s_ >= 0 && now_s >= first_seen_s_ + kAll_started_s) {
    for (std::int32_t rank = 0; rank < ranks_; ++rank) miss(rank);
  }
  return gone;
}

}  // namespace dlt::supervise

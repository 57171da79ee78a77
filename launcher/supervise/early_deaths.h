// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "launcher/supervise/rank_processes.h"

namespace dlt::supervise {

/// Ranks of this machine that end before they have said a word to dlrun: the starter may wait for
/// the others for ever. Pure; a rank is told once.
class EarlyDeaths {
 public:
  /// A new generation of so many ranks, here of which are on this machine.
  void begin(std::int32_t here, std::int32_t ranks);
  /// Whether there is anybody left to look for. spoke: whether a rank has said Hello.
  [[nodiscard]] bool done(const std::function<bool(std::int32_t)>& spoke) const;
  /// The rank processes that are there now. Returns the ranks that are gone: those that were seen
  /// and are not there, and, a while after the first, those that never were.
  [[nodiscard]] std::vector<std::int32_t> look(double now_s, const std::vector<RankProcess>& there,
                                               const std::function<bool(std::int32_t)>& spoke);

 private:
  [[nodiscard]] bool all_here() const { return here_ == ranks_; }

  std::int32_t here_ = 0, ranks_ = 0;
  double first_seen_s_ = -1;
  std::set<std::int32_t> seen_, told_;
};

}  // namespace dlt::supervise

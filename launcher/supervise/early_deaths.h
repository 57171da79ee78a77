// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "launcher/supervise/injection.h"

namespace dlt::supervise {

/// Ranks of this machine that end before they have said a word to dlrun: the starter may wait for
/// the others for ever. Pure; a rank is told once.
class EarlyDeaths {
 public:
  /// A new generation. all_here: its ranks if all are on this machine, else 0.
  void begin(std::int32_t all_here);
  /// Whether there is anybody left to look for. spoke: whether a rank has said Hello.
  [[nodiscard]] bool done(const std::function<bool(std::int32_t)>& spoke) const;
  /// The rank processes that are there now. Returns the ranks that are gone: those that were seen
  /// and are not there, and, a while after the first, those that never were.
  [[nodiscard]] std::vector<std::int32_t> look(double now_s, const std::vector<RankProcess>& there,
                                               const std::function<bool(std::int32_t)>& spoke);

 private:
  std::int32_t all_here_ = 0;
  double first_seen_s_ = -1;
  std::set<std::int32_t> seen_, told_;
};

}  // namespace dlt::supervise

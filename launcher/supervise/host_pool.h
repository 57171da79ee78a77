// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/supervise/host_slots.h"

namespace dlt::supervise {

/// Which hosts ranks may be placed on. A host that failed is out until it is found up twice in a
/// row; one that failed twice is left out for good, unless nothing else reaches min_ranks.
class HostPool {
 public:
  static constexpr int kFailuresAllowed = 1;
  static constexpr int kLooks = 2;  // in a row, before a host counts as back

  HostPool(std::vector<HostSlots> hosts, std::int32_t min_ranks);

  /// Its own fault: gone, or cut off. Hosts that are not in the pool are ignored.
  void failed(std::string_view host);
  /// Of the hosts that were asked these answered.
  void looked(const std::vector<std::string>& asked, const std::vector<std::string>& up);
  /// Ranks on hosts, in the pool's order, at most `ranks` together.
  [[nodiscard]] std::vector<HostSlots> place(std::int32_t ranks) const;
  /// Ranks that could be placed.
  [[nodiscard]] std::int32_t room() const;
  /// Hosts to look at in order to grow: out, and not left out for good.
  [[nodiscard]] std::vector<std::string> awaited() const;
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool left_out(std::string_view host) const;

 private:
  struct Host {
    HostSlots slots;
    int failures = 0;
    int looks = kLooks;  // in a row that found it up
    [[nodiscard]] bool up() const { return looks >= kLooks; }
    [[nodiscard]] bool trusted() const { return failures <= kFailuresAllowed; }
  };
  [[nodiscard]] bool last_resort() const;
  [[nodiscard]] bool usable(const Host& host) const;

  std::vector<Host> hosts_;
  std::int32_t min_ranks_;
};

}  // namespace dlt::supervise

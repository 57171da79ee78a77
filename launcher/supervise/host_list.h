// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/supervise/host_slots.h"

namespace dlt::supervise {

/// "a:4,b:4": hosts with the ranks they take; "a,b" takes one each.
/// errors  Error(Exit::usage) for a name or a number that is none, or a host named twice
[[nodiscard]] std::vector<HostSlots> parse_hosts(const std::string& text);
/// The opposite: "a:4,b:4".
[[nodiscard]] std::string hosts_text(const std::vector<HostSlots>& hosts);
/// Ranks that all of them take together.
[[nodiscard]] std::int64_t total_slots(const std::vector<HostSlots>& hosts);

/// Slurm's short form of names: "n[1-3,07],gpu1" is n1 n2 n3 n07 gpu1. At most 65,536 names.
/// errors  Error(Exit::unavailable) if it is no such list
[[nodiscard]] std::vector<std::string> expand_node_list(const std::string& text);
/// Slurm's short form of one number a node: "4(x3),2" is 4 4 4 2.
/// errors  Error(Exit::unavailable) if it is no such list
[[nodiscard]] std::vector<std::int32_t> expand_counts(const std::string& text);

}  // namespace dlt::supervise

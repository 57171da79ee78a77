// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <sys/types.h>

namespace dlt::supervise {

struct RankProcess {
  std::int32_t rank = 0;
  pid_t pid = 0;
  int control_port = 0;  // of its dlrun
};
/// The ranks below a dlrun on this machine, by rank. Those of which nothing can be read are left
/// out.
[[nodiscard]] std::vector<RankProcess> ranks_below(pid_t dlrun);

}  // namespace dlt::supervise

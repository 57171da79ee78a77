// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <sys/types.h>

namespace dlt::supervise {

/// What a drill does to a job.
enum class Injection : std::uint8_t {
  disk,  // a rank can write no file any further, for a second
  kill,  // SIGKILL of a rank
  net,   // a rank's connection to dlrun is cut
  stop,  // SIGSTOP of a rank, for good
};
inline constexpr const char* kInjectionNames[] = {"disk", "kill", "net", "stop"};
[[nodiscard]] const char* name(Injection injection);

struct RankProcess {
  std::int32_t rank = 0;
  pid_t pid = 0;
  int control_port = 0;  // of its dlrun
};
/// The ranks below a dlrun on this machine, by rank. Those of which nothing can be read are left
/// out.
[[nodiscard]] std::vector<RankProcess> ranks_below(pid_t dlrun);

/// Does it to a rank that dlrun below this process runs. False if the rank is gone, or what it
/// takes is not there (yet).
[[nodiscard]] bool inject(Injection injection, const RankProcess& rank);
/// Ends what ends by itself: a rank of `disk` may write again.
void withdraw(Injection injection, const RankProcess& rank);

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "launcher/supervise/rank_processes.h"

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

/// Does it to a rank that dlrun below this process runs. False if the rank is gone, or what it
/// takes is not there (yet).
[[nodiscard]] bool inject(Injection injection, const RankProcess& rank);
/// Ends what ends by itself: a rank of `disk` may write again.
void withdraw(Injection injection, const RankProcess& rank);

}  // namespace dlt::supervise

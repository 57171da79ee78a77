// SPDX-License-Identifier: Apache-2.0
// What one seed decides: a job, its cluster, and what happens to it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "launcher/supervise/supervisor.h"

namespace dlt::supervise::sim {

/// SplitMix64: small, and the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) { state_ = next() ^ (seed << 32); }
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double between(double low, double high) { return low + (high - low) * uniform(); }
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  bool chance(double p) { return uniform() < p; }

 private:
  std::uint64_t state_;
};

inline constexpr std::array kFatalCodes{64, 65, 66, 74, 77, 78, 80};  // as CONTRACT.md has them

enum class Hurt : std::uint8_t {
  // Legal: nothing may come of them.
  short_stop,   // SIGSTOP, SIGCONT within the allowance
  short_cut,    // of a host's network
  short_pause,  // of dlrun itself
  // Faults, each with one victim.
  kill,       // SIGKILL of a rank
  segfault,   // SIGSEGV
  exception,  // a rank fails with a code that may be tried again
  memory,     // the kernel kills a rank
  long_stop,  // SIGSTOP for good
  hang,       // a rank does nothing any more
  host_dies,
  long_cut,
  // Faults without a victim, or with special rules.
  starter_dies,
  long_pause,  // of dlrun, so that ranks give up
  fatal,       // a rank fails with a code that is never tried again
  poison,      // a rank dies whenever it does a certain step
  no_start,    // the starter cannot start anything
  user_stop,
  user_stop_twice,
  corruption,  // the newest state turns out to be invalid
};
[[nodiscard]] const char* name(Hurt hurt);
[[nodiscard]] bool legal(Hurt hurt);
[[nodiscard]] bool has_victim(Hurt hurt);

struct Injection {
  Hurt hurt = Hurt::kill;
  double at_s = 0;
  double for_s = 0;  // until it heals, where it does
  int rank = 0;
  int host = 0;
  int code = 0;
  std::int64_t step = 0;
};

struct Script {
  std::uint64_t seed = 0;
  SupervisorOptions options;
  std::int64_t steps = 10;
  std::int64_t save_every = 5;
  bool memory_saves = true;
  double start_s = 1;     // until a rank's first step
  double compute_s = 1;   // of a step
  double save_s = 0.1;    // a checkpoint
  double delay_s = 0.02;  // of messages, at most
  double rings_seen = 1;  // share of findings that can be read
  std::vector<Injection> injections;
};

[[nodiscard]] Script write_script(std::uint64_t seed);

}  // namespace dlt::supervise::sim

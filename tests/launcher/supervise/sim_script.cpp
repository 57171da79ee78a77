// SPDX-License-Identifier: Apache-2.0
#include "sim_script.h"

#include <algorithm>
#include <array>

namespace dlt::supervise::sim {
namespace {

/// share: of the time that legal pauses may take together.
Injection write_injection(Random& random, const Script& script, double whole_s, double share) {
  const auto num_hosts = static_cast<int>(script.options.hosts.size());
  const double timeout_s = script.options.fault.hang_timeout_s;
  Injection one;
  do {
    one.hurt = static_cast<Hurt>(random.below(static_cast<int>(Hurt::corruption) + 1));
  } while (num_hosts == 1 && (one.hurt == Hurt::host_dies || one.hurt == Hurt::long_cut ||
                              one.hurt == Hurt::short_cut));
  one.at_s = random.between(0, 1.1 * whole_s);
  // A host that is cut off while ranks are started there is a fault.
  if (one.hurt == Hurt::short_cut) one.at_s += script.start_s + 1;
  one.rank = random.below(script.options.ranks);
  one.host = num_hosts > 1 ? 1 + random.below(num_hosts - 1) : 0;  // dlrun's own is the first
  one.step = random.below(static_cast<int>(script.steps));
  one.code = kFatalCodes[static_cast<std::size_t>(random.below(kFatalCodes.size()))];
  const double most_s =
      0.8 * std::min(timeout_s, 10.0) - 1.3 * script.compute_s - script.save_s - 0.6;
  const double legal_s = share * random.between(0.05, std::max(0.1, most_s));
  switch (one.hurt) {
    case Hurt::short_stop:
    case Hurt::short_cut:
      one.for_s = legal_s;
      break;
    case Hurt::short_pause:
      one.for_s = random.between(0.1, 1.5 * timeout_s);
      break;
    case Hurt::long_pause:
      one.for_s = random.between(2, 4) * timeout_s;
      break;
    case Hurt::host_dies:
      one.for_s = random.chance(0.3) ? 1e9 : timeout_s + random.between(20, 200);
      break;
    case Hurt::long_cut:
      one.for_s = random.chance(0.3) ? 1e9 : random.between(2.5, 5) * timeout_s + 20;
      break;
    case Hurt::exception:
      one.code = random.chance(0.5) ? 70 : 1;
      break;
    case Hurt::user_stop:
    case Hurt::user_stop_twice:
      one.for_s = random.chance(0.5) ? 0 : random.between(5, 120);  // the grace period
      break;
    case Hurt::kill:
    case Hurt::segfault:
    case Hurt::memory:
    case Hurt::long_stop:
    case Hurt::hang:
    case Hurt::starter_dies:
    case Hurt::fatal:
    case Hurt::poison:
    case Hurt::no_start:
    case Hurt::corruption:
      break;
  }
  return one;
}

}  // namespace

const char* name(Hurt hurt) {
  static constexpr std::array kNames{"short_stop", "short_cut",       "short_pause", "kill",
                                     "segfault",   "exception",       "memory",      "long_stop",
                                     "hang",       "host_dies",       "long_cut",    "starter_dies",
                                     "long_pause", "fatal",           "poison",      "no_start",
                                     "user_stop",  "user_stop_twice", "corruption"};
  return kNames[static_cast<std::size_t>(hurt)];
}

bool legal(Hurt hurt) { return hurt <= Hurt::short_pause; }
bool has_victim(Hurt hurt) { return hurt >= Hurt::kill && hurt <= Hurt::long_cut; }

Script write_script(std::uint64_t seed) {
  static constexpr std::array kHosts{"a", "b", "c"};
  static constexpr std::array kTimeouts_s{3.0, 8.0, 30.0};
  Random random(seed);
  Script script{.seed = seed};
  SupervisorOptions& options = script.options;
  const int num_hosts = 1 + random.below(3);
  std::int32_t slots = 0;
  for (int host = 0; host < num_hosts; ++host) {
    options.hosts.push_back({kHosts[static_cast<std::size_t>(host)], 1 + random.below(3)});
    slots += options.hosts.back().slots;
  }
  options.ranks = std::max(num_hosts, slots - random.below(2));
  config::FaultOptions& fault = options.fault;
  fault.hang_timeout_s = kTimeouts_s[static_cast<std::size_t>(random.below(3))];
  fault.max_restarts = random.below(6);
  fault.backoff_s = random.chance(0.5) ? 1 : 0.1;
  fault.min_ranks = 1 + random.below(options.ranks);
  fault.skip_poison = random.chance(0.5);
  options.host_wait_s = 60;
  options.growth_check_s = random.between(5, 30);
  script.steps = 4 + random.below(20);
  script.save_every = 2 + random.below(6);
  script.memory_saves = random.chance(0.6);
  script.start_s = random.between(0.2, 4);
  script.compute_s = random.between(0.05, 1.5);
  script.save_s = random.between(0.01, std::min(2.0, 0.3 * fault.hang_timeout_s));
  script.delay_s = random.chance(0.7) ? 0.02 : 0.15;
  script.rings_seen = random.chance(0.7) ? 1 : 0.3;
  const double whole_s =
      script.start_s + static_cast<double>(script.steps) * script.compute_s + 2 * script.save_s;
  if (num_hosts > 1 && random.chance(0.05)) {
    // Long enough for a host to go and to come back.
    script.steps = 150;
    script.compute_s = random.between(0.3, 1);
    options.growth_check_s = 3;
    script.injections.push_back({.hurt = random.chance(0.5) ? Hurt::host_dies : Hurt::long_cut,
                                 .at_s = random.between(5, 20),
                                 .for_s = 2.5 * fault.hang_timeout_s + 20,
                                 .host = 1});
    return script;
  }
  const int how_many = random.chance(0.4) ? 1 : random.below(5);
  for (int i = 0; i < how_many; ++i) {
    script.injections.push_back(write_injection(random, script, whole_s, 1.0 / how_many));
  }
  return script;
}

}  // namespace dlt::supervise::sim

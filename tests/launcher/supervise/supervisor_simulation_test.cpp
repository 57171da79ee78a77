// SPDX-License-Identifier: Apache-2.0
// Many histories of a job under a Supervisor, one a seed. By default 100,000 of them;
// --seeds=N runs others, --seed=S runs and prints one.
#include <cstdint>
#include <iostream>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/text.h"
#include "sim_script.h"
#include "sim_world.h"

namespace dlt::supervise::sim {
namespace {

struct Wanted {
  std::uint64_t num_seeds = 100000;
  std::uint64_t one_seed = 0;  // 0: all
};

std::string describe(const Script& script, const Outcome& outcome) {
  std::string out = cat("seed ", script.seed, ":");
  for (const Injection& one : script.injections) out += cat(" ", name(one.hurt));
  for (const std::string& what : outcome.broken) out += cat("\n  ", what);
  return out + cat("\n  again, with all that happens: --seed=", script.seed);
}

void run_histories(const Wanted& what) {
  const bool one = what.one_seed != 0;
  const std::uint64_t first = one ? what.one_seed : 1;
  const std::uint64_t last = one ? what.one_seed : what.num_seeds;
  std::map<Exit, std::int64_t> exits;
  std::int64_t restarts = 0, launches = 0;
  int failures = 0;
  for (std::uint64_t seed = first; seed <= last && failures < 10; ++seed) {
    const Script script = write_script(seed);
    World world(script, one);
    const Outcome outcome = world.run();
    ++exits[outcome.exit];
    restarts += outcome.restarts;
    launches += outcome.launches;
    if (outcome.broken.empty()) continue;
    ++failures;
    ADD_FAILURE() << describe(script, outcome);
  }
  if (one || failures > 0) return;
  // The histories are worth something: runs end in all the ways there are.
  std::string counts;
  for (const auto& [exit, count] : exits) counts += cat(" ", static_cast<int>(exit), ": ", count);
  std::cout << "exit codes:" << counts << "; restarts: " << restarts << " of " << launches
            << " launches\n";
  if (what.num_seeds < 1000) return;
  for (const Exit exit : {Exit::ok, Exit::data, Exit::unavailable, Exit::io, Exit::preempted,
                          Exit::numerics, Exit::peer_lost, Exit::budget}) {
    EXPECT_GT(exits[exit], 0) << static_cast<int>(exit);
  }
  EXPECT_GT(restarts, launches / 10);
  const auto runs = static_cast<std::int64_t>(what.num_seeds);
  EXPECT_GT(launches - restarts - runs, runs / 1000) << "jobs that grew";
}

class Histories final : public ::testing::Test {
 public:
  explicit Histories(const Wanted& what) : what_(what) {}
  void TestBody() override { run_histories(what_); }

 private:
  Wanted what_;
};

Wanted read_flags(int argc, char** argv) {
  Wanted what;
  const std::string one = "--seed=", many = "--seeds=";
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag.rfind(one, 0) == 0) what.one_seed = std::stoull(flag.substr(one.size()));
    if (flag.rfind(many, 0) == 0) what.num_seeds = std::stoull(flag.substr(many.size()));
  }
  return what;
}

}  // namespace
}  // namespace dlt::supervise::sim

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const auto what = dlt::supervise::sim::read_flags(argc, argv);
  ::testing::RegisterTest(
      "SupervisorSimulation", "KeepsItsPromisesInEveryHistory", nullptr, nullptr, __FILE__,
      __LINE__, [what]() -> ::testing::Test* { return new dlt::supervise::sim::Histories(what); });
  return RUN_ALL_TESTS();
}

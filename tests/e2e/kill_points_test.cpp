// SPDX-License-Identifier: Apache-2.0
// A run that is killed at any of its kill points and started again ends with the bits of one that
// was not. DLTRAIN_PROGRAM is dltrain_killable here.
#include <csignal>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"
#include "launcher/control/control_support.h"

namespace dlt::e2e {
namespace {

using launcher::test::ServerThread;

const std::vector<std::string> kPoints{
#define DLT_KILL_POINT_NAME(name) #name,
#include "base/kill_points.def"
#undef DLT_KILL_POINT_NAME
};

struct Start {
  std::string run;
  std::string plan;  // of kill points
  std::string generation;
};

/// As if dlrun started it, so that there are snapshots in memory.
ProgramOptions supervised(const ServerThread& server, const Start& start) {
  return {.env = {{"DLTRAIN_KILL", start.plan},
                  {"DLRUN_CONTROL", server.address()},
                  {"DLRUN_TOKEN", launcher::test::kToken},
                  {"DLRUN_GENERATION", start.generation},
                  {"DLRUN_MEMORY", start.run + "-memory"}}};
}

class KillPoints : public testing::Test {
 protected:
  KillPoints() {
    test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_) +
                                  "checkpoint: {every_steps: 5, keep: 1, ram_every_steps: 1}\n"
                                  "comm: {bucket_mb: 0.001}\n");
  }
  /// Two ranks, with a plan for their kill points.
  ProgramResult train(const std::string& plan) {
    const ServerThread server;
    return dltrain_ranks(2, {config_, "--quiet"},
                         supervised(server, {.run = run_, .plan = plan, .generation = "1"}));
  }

  test::TempFolder folder_;
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml";
};

TEST_F(KillPoints, EachIsComeTo) {
  const std::string record = folder_ / "record";
  ASSERT_EQ(train("record:" + record).exit_code, 0);
  std::istringstream lines(read_file(record));
  std::set<std::string> reached;
  for (std::string line; std::getline(lines, line);) reached.insert(line);
  for (const std::string& point : kPoints) EXPECT_TRUE(reached.contains(point)) << point;
  EXPECT_GE(kPoints.size(), 25u);
}

/// Kills a run at the point when it comes there for the hit-th time, or the first where it comes
/// less often, and ends it with one rank.
void kill_and_resume(const std::string& config, const std::string& run, const std::string& point,
                     int hit, const std::string& undisturbed) {
  const Words words{config, "--quiet", "--set", "run.dir=" + run};
  Words anew = words;
  anew.push_back("--overwrite");
  ProgramResult killed;
  for (const int at : {hit, 1}) {
    const ServerThread server;
    killed = dltrain_ranks(
        2, anew, supervised(server, {.run = run, .plan = cat(point, ":", at), .generation = "1"}));
    if (killed.exit_code != 0) break;
  }
  EXPECT_EQ(killed.exit_code, 128 + SIGKILL) << point << "\n" << killed.err;
  const ServerThread server({.generation = 2});
  const ProgramResult resumed =
      dltrain(words, supervised(server, {.run = run, .plan = "", .generation = "2"}));
  EXPECT_EQ(resumed.exit_code, 0) << point << "\n" << resumed.err;
  EXPECT_EQ(summary_hash(run), undisturbed) << point;
}

TEST_F(KillPoints, ARunKilledAtAnyOfThemEndsWithTheSameBits) {
  ASSERT_EQ(train("").exit_code, 0);
  const std::string undisturbed = summary_hash(run_);
  // They mostly wait for mpirun to see that a rank is gone.
  constexpr std::size_t kAt_once = 4;
  std::vector<std::thread> threads;
  for (std::size_t first = 0; first < kAt_once; ++first) {
    threads.emplace_back([&, first] {
      for (std::size_t i = first; i < kPoints.size(); i += kAt_once) {
        kill_and_resume(config_, folder_ / cat("run", first), kPoints[i],
                        static_cast<int>(i % 4) + 1, undisturbed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace dlt::e2e

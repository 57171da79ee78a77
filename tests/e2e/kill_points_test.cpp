// SPDX-License-Identifier: Apache-2.0
// A run that is killed at any of its kill points and started again ends with the bits of one that
// was not. DLTRAIN_PROGRAM is dltrain_killable here.
#include <csignal>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

const std::vector<std::string> kPoints{
#define DLT_KILL_POINT_NAME(name) #name,
#include "base/kill_points.def"
#undef DLT_KILL_POINT_NAME
};

class KillPoints : public testing::Test {
 protected:
  KillPoints() {
    test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_) +
                                  "checkpoint: {every_steps: 5, keep: 1}\n"
                                  "comm: {bucket_mb: 0.001}\n");
  }
  /// Two ranks, with a plan for their kill points.
  ProgramResult train(const std::string& plan, const Words& more = {}) {
    Words words{config_, "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return dltrain_ranks(2, words, {.env = {{"DLTRAIN_KILL", plan}}});
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

TEST_F(KillPoints, ARunKilledAtAnyOfThemEndsWithTheSameBits) {
  ASSERT_EQ(train("", {"--overwrite"}).exit_code, 0);
  const std::string undisturbed = summary_hash(run_);
  int hit = 0;
  for (const std::string& point : kPoints) {
    hit = hit % 4 + 1;  // the first time, the second, ...
    ProgramResult killed = train(cat(point, ":", hit), {"--overwrite"});
    if (killed.exit_code == 0) killed = train(cat(point, ":", 1), {"--overwrite"});
    EXPECT_EQ(killed.exit_code, 128 + SIGKILL) << point << "\n" << killed.err;
    const ProgramResult resumed = dltrain({config_, "--quiet"});  // one rank is enough
    EXPECT_EQ(resumed.exit_code, 0) << point << "\n" << resumed.err;
    EXPECT_EQ(summary_hash(run_), undisturbed) << point;
  }
}

}  // namespace
}  // namespace dlt::e2e

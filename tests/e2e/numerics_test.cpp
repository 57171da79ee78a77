// SPDX-License-Identifier: Apache-2.0
// Numbers gone bad, hashes, replay and the check of data, as a user meets them.
#include <fstream>

#include <gtest/gtest.h>

#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

using test::TempFolder;

struct Job {
  std::string config, run_dir;
};

Job write_job(const TempFolder& folder, const std::string& name) {
  Job job{.config = folder / (name + ".yaml"), .run_dir = folder / name};
  std::ofstream(job.config) << replaced(digits_yaml(), "RUN_DIR", job.run_dir);
  return job;
}

/// Inputs that are finite, and overflow in the first layer.
const Words kOverflow{"--set", "data.train.scale=2e37"};

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Numerics, HaltIsExit80AndSaysWhere) {
  const TempFolder folder;
  const Job job = write_job(folder, "run");
  const ProgramResult one = dltrain(with({job.config}, kOverflow));
  EXPECT_EQ(one.exit_code, 80);
  EXPECT_NE(one.err.find("dltrain: error: step 1: the loss is "), std::string::npos) << one.err;
  EXPECT_NE(one.err.find("leaf 0 (rank 0, rows "), std::string::npos) << one.err;
  EXPECT_NE(one.err.find("layer 'dense_1', op "), std::string::npos) << one.err;
  EXPECT_EQ(count(one.err, "dltrain: error:"), 1);
  const ProgramResult two = dltrain_ranks(2, with({job.config, "--overwrite"}, kOverflow));
  EXPECT_EQ(two.exit_code, 80) << two.err;
  EXPECT_EQ(count(two.err, "dltrain: error:"), 1) << two.err;
  EXPECT_NE(two.err.find("dltrain replay "), std::string::npos) << two.err;
  const ProgramResult again = dltrain({"replay", job.run_dir, "--until-nan"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("layer 'dense_1'"), std::string::npos) << again.out;
}

TEST(Numerics, HaltDoesNotBlameTheRowsOfALaterStep) {
  const TempFolder folder;
  const Job job = write_job(folder, "run");
  // The loss of step 1 is finite, its gradient is not, and nobody looks at that but every 10 steps.
  const Words late{"--set", "data.train.scale=1e37"};
  const ProgramResult run = dltrain(with({job.config}, late));
  EXPECT_EQ(run.exit_code, 80);
  EXPECT_NE(run.err.find("step 2: the loss is "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("' was not finite before, by an earlier step's gradient"),
            std::string::npos)
      << run.err;
  const ProgramResult again = dltrain({"replay", job.run_dir, "--step", "2", "--until-nan"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("step 1: the gradient is not finite: leaf 0"), std::string::npos)
      << again.out;
}

TEST(Numerics, DiffNamesStepAndStage) {
  const TempFolder folder;
  const Job a = write_job(folder, "a"), b = write_job(folder, "b"), c = write_job(folder, "c");
  const Words hashes{"--set", "log.hashes=true"};
  ASSERT_EQ(dltrain(with({a.config}, hashes)).exit_code, 0);
  ASSERT_EQ(dltrain_ranks(2, with({b.config}, hashes)).exit_code, 0);
  const Words other = with(hashes, {"--set", "run.seed=2"});
  ASSERT_EQ(dltrain(with({c.config}, other)).exit_code, 0);
  const ProgramResult same = dltrain({"diff", a.run_dir, b.run_dir});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(same.out, "equal in 23 steps, 1 to 23\n");
  const ProgramResult differ = dltrain({"diff", a.run_dir, c.run_dir});
  EXPECT_EQ(differ.exit_code, 65);
  EXPECT_EQ(differ.out, "they part at step 1: samples\n");
  EXPECT_EQ(dltrain({"diff", a.run_dir, folder / "none"}).exit_code, 66);
  const ProgramResult replayed = dltrain({"replay", b.run_dir, "--step", "20"});
  EXPECT_EQ(replayed.exit_code, 0) << replayed.out << replayed.err;
  EXPECT_NE(replayed.out.find("as the run's in 20 steps"), std::string::npos) << replayed.out;
  EXPECT_EQ(dltrain({"replay", b.run_dir, "--step", "24"}).exit_code, 78);
}

TEST(Numerics, DataCheckNamesBadRows) {
  const TempFolder folder;
  const Job job = write_job(folder, "run");
  const ProgramResult good = dltrain({"data", "check", job.config});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_NE(good.out.find("samples     1437"), std::string::npos) << good.out;
  EXPECT_NE(good.out.find("0: 142"), std::string::npos) << good.out;
  std::ofstream(job.config) << replaced(replaced(digits_yaml(), "RUN_DIR", job.run_dir),
                                        "units: 10", "units: 9");
  const ProgramResult bad = dltrain({"data", "check", job.config});
  EXPECT_EQ(bad.exit_code, 65);
  EXPECT_NE(bad.err.find("label 9 is out of range, expected 0 to 8"), std::string::npos) << bad.err;
  EXPECT_NE(bad.err.find(" more"), std::string::npos) << bad.err;
  EXPECT_NE(bad.out.find("bad         144"), std::string::npos) << bad.out;
}

}  // namespace
}  // namespace dlt::e2e

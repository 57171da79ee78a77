// SPDX-License-Identifier: Apache-2.0
// dlrun drill on a small job.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

class Drill : public testing::Test {
 protected:
  Drill() { test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_)); }
  ProgramResult drill(const Words& more) {
    Words words{DLTRAIN_DLRUN, "drill", config_, "--set", "checkpoint.every_steps=5",
                // Long enough to be met by a fault on a busy machine.
                "--set", "train.epochs=12"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, {.timeout_s = 120});
  }
  test::TempFolder folder_;
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml";
};

TEST_F(Drill, PassesWhateverIsBroken) {
  const ProgramResult got = drill({"--faults", "kill,disk,net", "--count", "4", "--seed", "3"});
  EXPECT_EQ(got.exit_code, 0) << got.out << got.err;
  EXPECT_THAT(got.out, testing::HasSubstr("PASS: 4 faults"));
}

TEST_F(Drill, SaysWhyItCannotBegin) {
  const ProgramResult got = drill({"--set", "train.steps=0"});
  EXPECT_EQ(got.exit_code, 78) << got.out << got.err;
  EXPECT_THAT(got.out, testing::Not(testing::HasSubstr("PASS")));
  EXPECT_EQ(drill({"--faults", "fire"}).exit_code, 64);
}

}  // namespace
}  // namespace dlt::e2e

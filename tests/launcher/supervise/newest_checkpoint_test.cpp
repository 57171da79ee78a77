// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/newest_checkpoint.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

TEST(NewestCheckpoint, IsTheHighestStepOfACompleteFolder) {
  const test::TempFolder folder;
  for (const char* name : {"step-000000007", "step-000000100", "step-000000200.tmp", "other"}) {
    std::filesystem::create_directories((folder / "run/checkpoints/") + name);
  }
  EXPECT_EQ(newest_checkpoint(folder / "run"), 100);
}

TEST(NewestCheckpoint, OfARunThatSavedNothingThereIsNone) {
  const test::TempFolder folder;
  EXPECT_EQ(newest_checkpoint(folder / "run"), -1);
}

}  // namespace
}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#include "base/generation.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_folder.h"

namespace dlt {
namespace {

TEST(Generation, IsZeroBeforeDlrunStartsTheRun) {
  const test::TempFolder folder;
  EXPECT_EQ(read_generation(folder.path()), 0);
}

TEST(Generation, KeepsAnOldOneFromWriting) {
  const test::TempFolder folder;
  SystemFs fs;
  write_generation(fs, folder.path(), 7);
  EXPECT_EQ(read_generation(folder.path()), 7);
  require_newest_generation(folder.path(), 7);
  require_newest_generation(folder.path(), 0);  // a rank without dlrun has none
  try {
    require_newest_generation(folder.path(), 6);
    FAIL() << "generation 6 may write";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::peer_lost);
  }
}

TEST(Generation, RefusesWhatIsNoNumber) {
  const test::TempFolder folder;
  SystemFs fs;
  write_atomically(fs, folder.path() + "/generation", "7x\n");
  EXPECT_THROW((void)read_generation(folder.path()), Error);
}

TEST(RunLock, KeepsASecondWriterOutAndNamesTheFirst) {
  const test::TempFolder folder;
  {
    const RunLock first(folder.path(), 0);
    try {
      const RunLock second(folder.path(), 0);
      FAIL() << "two writers";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::unavailable);
      EXPECT_NE(std::string(error.what()).find("process "), std::string::npos) << error.what();
    }
  }
  const RunLock third(folder.path(), 0);
}

}  // namespace
}  // namespace dlt

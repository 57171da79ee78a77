// SPDX-License-Identifier: Apache-2.0
#include "base/checkpoint_folders.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace dlt {
namespace {

TEST(CheckpointFolders, AreThoseOfACompleteName) {
  const test::TempFolder folder;
  for (const char* name :
       {"step-000000007", "step-000000100", "step-000000200.tmp", ".tmp-step-000000300", "step-8",
        "other", ".old-step-000000007", ".old-step-000000050"}) {
    std::filesystem::create_directories(folder / name);
  }
  std::vector<std::string> found;
  for (const CheckpointPlace& place : complete_in(folder / "")) {
    found.push_back(std::to_string(place.step) + " " +
                    place.path.substr(place.path.rfind('/') + 1));
  }
  EXPECT_EQ(found, (std::vector<std::string>{"7 step-000000007", "50 .old-step-000000050",
                                             "100 step-000000100"}));
}

TEST(CheckpointFolders, OfAFolderThatIsNotThereThereAreNone) {
  const test::TempFolder folder;
  EXPECT_TRUE(complete_in(folder / "none").empty());
}

}  // namespace
}  // namespace dlt

// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/last_lines.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

using Lines = std::vector<std::string>;

TEST(LastLines, JoinsPiecesAndLeavesOutFrames) {
  LastLines last;
  for (const char* piece : {"-----\nThere are ", "not enough", " slots\n\n", "--\nhint"}) {
    last.add(piece);
  }
  EXPECT_EQ(last.lines(), (Lines{"There are not enough slots", "hint"}));
}

TEST(LastLines, KeepsTheLastOnesOfBoundedLength) {
  LastLines last;
  for (int i = 0; i < 100; ++i) last.add("line " + std::to_string(i) + "\n");
  EXPECT_EQ(last.lines().size(), LastLines::kLines);
  EXPECT_EQ(last.lines().back(), "line 99");
  for (int i = 0; i < 1000; ++i) last.add("abcdefghij");
  EXPECT_EQ(last.lines().size(), LastLines::kLines);
  EXPECT_EQ(last.lines().back().size(), LastLines::kLineBytes);
}

TEST(LastLines, BeginsAnew) {
  LastLines last;
  last.add("one\ntwo");
  last.clear();
  EXPECT_EQ(last.lines(), Lines{});
}

}  // namespace
}  // namespace dlt::supervise

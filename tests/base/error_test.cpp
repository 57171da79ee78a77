// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"

namespace dlt {
namespace {

TEST(Error, CarriesExitMessageAndHint) {
  const Error error(Exit::data, "a.h5: no '/x'", "there is '/y'");
  EXPECT_EQ(error.exit(), Exit::data);
  EXPECT_STREQ(error.what(), "a.h5: no '/x'");
  EXPECT_EQ(error.hint(), "there is '/y'");
}

TEST(Error, ExitCodesAreThoseOfTheContract) {
  const int codes[] = {static_cast<int>(Exit::usage),     static_cast<int>(Exit::data),
                       static_cast<int>(Exit::missing),   static_cast<int>(Exit::unavailable),
                       static_cast<int>(Exit::internal),  static_cast<int>(Exit::io),
                       static_cast<int>(Exit::preempted), static_cast<int>(Exit::denied),
                       static_cast<int>(Exit::config),    static_cast<int>(Exit::numerics),
                       static_cast<int>(Exit::peer_lost), static_cast<int>(Exit::budget)};
  EXPECT_THAT(codes, testing::ElementsAre(64, 65, 66, 69, 70, 74, 75, 77, 78, 80, 81, 82));
}

TEST(Check, NamesFileLineExpressionAndDetail) {
  try {
    DLT_CHECK(1 + 1 == 3, "arithmetic");
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::internal);
    EXPECT_THAT(error.what(), testing::MatchesRegex(".*error_test\\.cpp:[0-9]+: internal error: "
                                                    "'1 \\+ 1 == 3' does not hold: arithmetic"));
  }
}

TEST(SystemClock, MonotonicTimeNeverGoesBack) {
  SystemClock clock;
  double last = clock.monotonic_s();
  for (int i = 0; i < 10000; ++i) {
    const double now = clock.monotonic_s();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.wall_s(), 1.7e9);
}

TEST(SystemClock, SleepingTakesAtLeastThatLong) {
  SystemClock clock;
  const double before = clock.monotonic_s();
  clock.sleep_s(1e-4);
  clock.sleep_s(-1.0);
  EXPECT_GE(clock.monotonic_s() - before, 1e-4);
}

}  // namespace
}  // namespace dlt

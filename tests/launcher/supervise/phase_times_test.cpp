// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/phase_times.h"

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

using observe::Phase;

PhaseTimes learnt(double step_s, double silence_s) {
  PhaseTimes times({.step_s = step_s});
  for (int i = 0; i < PhaseTimes::kEnough; ++i) times.seen(Phase::forward, silence_s);
  return times;
}

TEST(PhaseTimes, TheCeilingHoldsUntilEnoughIsKnown) {
  PhaseTimes times({.step_s = 30});
  times.seen(Phase::forward, 0.1);
  EXPECT_EQ(times.allowed_s(Phase::forward), 30);
}

TEST(PhaseTimes, FastStepsAreAllowedLess) {
  EXPECT_EQ(learnt(30, 0.5).allowed_s(Phase::data), PhaseTimes::kStepFloor_s);
}

TEST(PhaseTimes, SlowStepsAreAllowedMore) {
  EXPECT_EQ(learnt(60, 3).allowed_s(Phase::data), 8 * 3 + 2 * 0.5);
}

TEST(PhaseTimes, NothingWithinAStepIsAllowedMoreThanTheCeiling) {
  EXPECT_EQ(learnt(30, 20).allowed_s(Phase::reduce), 30);
  EXPECT_EQ(learnt(2, 0.1).allowed_s(Phase::reduce), 2);
}

TEST(PhaseTimes, AfterAHangTheCeilingHolds) {
  PhaseTimes times = learnt(30, 0.5);
  times.took_for_hung();
  EXPECT_EQ(times.allowed_s(Phase::data), 30);
}

TEST(PhaseTimes, SavingMayTakeThreeTimesWhatItTook) {
  PhaseTimes times({.step_s = 30, .checkpoint_s = 120});
  EXPECT_EQ(times.allowed_s(Phase::checkpoint), 120);
  times.seen(Phase::checkpoint, 100);
  EXPECT_EQ(times.allowed_s(Phase::checkpoint), 300);
  EXPECT_EQ(times.allowed_s(Phase::eval), 120);
}

}  // namespace
}  // namespace dlt::supervise

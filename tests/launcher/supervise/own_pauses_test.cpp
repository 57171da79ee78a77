// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/own_pauses.h"

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

TEST(OwnPauses, TimeRunsWhileCallsComeInTime) {
  OwnPauses pauses;
  EXPECT_EQ(pauses.advance(10), 10);
  pauses.promise(10.5);
  EXPECT_EQ(pauses.advance(10.9), 10.9);
  EXPECT_EQ(pauses.total_s(), 0);
}

TEST(OwnPauses, TimeStandsStillWhileNobodyCalls) {
  OwnPauses pauses;
  (void)pauses.advance(10);
  pauses.promise(10.5);
  EXPECT_EQ(pauses.advance(30.5), 10.5);
  EXPECT_EQ(pauses.total_s(), 20);
  pauses.promise(11);
  EXPECT_EQ(pauses.promised_s(), 31);
}

TEST(OwnPauses, WhatIsDueIsDueWhateverSumsRoundTo) {
  OwnPauses pauses;
  double own_s = pauses.advance(0.1);
  for (int i = 1; i < 1000; ++i) {
    const double due_s = own_s + 0.3;
    pauses.promise(due_s);
    own_s = pauses.advance(i % 7 == 0 ? pauses.promised_s() + 1.7 : pauses.promised_s());
    ASSERT_GE(own_s, due_s);
  }
}

}  // namespace
}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/early_deaths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kNobody = [](std::int32_t) { return false; };

TEST(EarlyDeaths, TellsOnceOfARankThatWasThereAndIsNot) {
  EarlyDeaths deaths;
  deaths.begin(2, 2);
  EXPECT_THAT(deaths.look(0, {{.rank = 0, .pid = 10}, {.rank = 1, .pid = 11}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(0.1, {{.rank = 1, .pid = 11}}, kNobody), ElementsAre(0));
  EXPECT_THAT(deaths.look(0.2, {{.rank = 1, .pid = 11}}, kNobody), IsEmpty());
}

TEST(EarlyDeaths, TellsOfARankThatWasNeverSeenOnceAllMustBeThere) {
  EarlyDeaths deaths;
  deaths.begin(2, 2);
  EXPECT_THAT(deaths.look(5, {}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(6, {{.rank = 0, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(6.9, {{.rank = 0, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(7, {{.rank = 0, .pid = 10}}, kNobody), ElementsAre(1));
}

TEST(EarlyDeaths, LeavesThoseThatSpokeToOthers) {
  EarlyDeaths deaths;
  deaths.begin(2, 2);
  const auto first = [](std::int32_t rank) { return rank == 0; };
  EXPECT_FALSE(deaths.done(first));
  EXPECT_THAT(deaths.look(0, {{.rank = 0, .pid = 10}, {.rank = 1, .pid = 11}}, first), IsEmpty());
  EXPECT_THAT(deaths.look(3, {{.rank = 1, .pid = 11}}, first), IsEmpty());
  EXPECT_TRUE(deaths.done([](std::int32_t) { return true; }));
}

TEST(EarlyDeaths, KnowsNothingOfRanksOfOtherHosts) {
  EarlyDeaths deaths;
  deaths.begin(1, 4);
  EXPECT_THAT(deaths.look(0, {{.rank = 2, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(9, {{.rank = 2, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(10, {}, kNobody), ElementsAre(2));
  EXPECT_FALSE(deaths.done(kNobody));
}

TEST(EarlyDeaths, HasNobodyToLookForOnceAllRanksOfThisMachineSpoke) {
  EarlyDeaths deaths;
  const auto third = [](std::int32_t rank) { return rank == 2; };
  deaths.begin(0, 4);
  EXPECT_TRUE(deaths.done(kNobody));
  deaths.begin(1, 4);
  EXPECT_FALSE(deaths.done(third));  // it may not be of this machine
  EXPECT_THAT(deaths.look(0, {{.rank = 2, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_FALSE(deaths.done(kNobody));
  EXPECT_TRUE(deaths.done(third));
}

TEST(EarlyDeaths, BeginsAnewWithEachGeneration) {
  EarlyDeaths deaths;
  deaths.begin(1, 1);
  EXPECT_THAT(deaths.look(0, {{.rank = 0, .pid = 10}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(1, {}, kNobody), ElementsAre(0));
  deaths.begin(1, 1);
  EXPECT_THAT(deaths.look(2, {}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(3, {{.rank = 0, .pid = 12}}, kNobody), IsEmpty());
  EXPECT_THAT(deaths.look(4, {}, kNobody), ElementsAre(0));
}

}  // namespace
}  // namespace dlt::supervise

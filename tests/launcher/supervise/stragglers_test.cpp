// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/stragglers.h"

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

using observe::Phase;

/// Seconds of a step: reading and computing; the others wait for the slowest.
struct Work {
  double data_s = 0.1;
  double forward_s = 0.4;
};

std::vector<Straggler> run(Stragglers& stragglers, const std::vector<Work>& ranks, int steps) {
  double slowest_s = 0;
  for (const Work& work : ranks) slowest_s = std::max(slowest_s, work.data_s + work.forward_s);
  std::vector<Straggler> found;
  for (int step = 0; step < steps; ++step) {
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      const Work& work = ranks[rank];
      launcher::Beat beat{.mark = {.phase = Phase::data, .step = step}};
      const auto total = [&](double s) { return static_cast<float>(step * s); };
      beat.phase_s[static_cast<std::size_t>(Phase::data)] = total(work.data_s);
      beat.phase_s[static_cast<std::size_t>(Phase::forward)] = total(work.forward_s);
      beat.phase_s[static_cast<std::size_t>(Phase::reduce)] =
          total(slowest_s - work.data_s - work.forward_s);
      for (const Straggler& one :
           stragglers.heard(step * slowest_s, static_cast<std::int32_t>(rank), beat)) {
        found.push_back(one);
      }
    }
  }
  return found;
}

TEST(Stragglers, EqualRanksAreNone) {
  Stragglers stragglers;
  stragglers.reset(3);
  EXPECT_TRUE(run(stragglers, {{}, {}, {}}, 200).empty());
}

TEST(Stragglers, ASlowRankIsToldOnceWithItsRatioAndPhase) {
  Stragglers stragglers;
  stragglers.reset(3);
  const auto found = run(stragglers, {{}, {.data_s = 0.6}, {}}, 200);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].rank, 1);
  EXPECT_NEAR(found[0].ratio, 2, 0.05);
  EXPECT_EQ(found[0].phase, Phase::data);
}

TEST(Stragglers, WaitingForOthersIsNoWork) {
  Stragglers stragglers;
  stragglers.reset(2);
  const auto found = run(stragglers, {{.forward_s = 2}, {}}, 100);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].rank, 0);
  EXPECT_EQ(found[0].phase, Phase::forward);
}

TEST(Stragglers, ARankAloneIsNone) {
  Stragglers stragglers;
  stragglers.reset(1);
  EXPECT_TRUE(run(stragglers, {{}}, 100).empty());
}

}  // namespace
}  // namespace dlt::supervise

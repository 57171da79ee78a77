// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/restart_policy.h"

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

Fault death(int rank, std::int64_t step, observe::Phase phase = observe::Phase::forward) {
  return {.rank = rank, .mark = {.phase = phase, .step = step}, .marked = true};
}

TEST(RestartPolicy, WithProgressThereIsNoWaiting) {
  RestartPolicy policy({.max_restarts = 1});
  for (std::int64_t step = 0; step < 100; ++step) {
    const auto choice = policy.choose(death(0, step), {.committed_step = step});
    EXPECT_TRUE(choice.restart);
    EXPECT_EQ(choice.backoff_s, 0);
  }
}

TEST(RestartPolicy, WithoutProgressItWaitsTwiceAsLongUpToAMinute) {
  RestartPolicy policy({.max_restarts = 100, .backoff_s = 1});
  (void)policy.choose(death(0, 5), {.furthest_step = 5});
  for (const double s : {1, 2, 4, 8, 16, 32, 60, 60}) {
    const auto rank = static_cast<int>(s) % 7;  // not the same one: no crash loop
    EXPECT_EQ(policy.choose(death(rank, 5, observe::Phase::start), {.furthest_step = 5}).backoff_s,
              s);
  }
}

TEST(RestartPolicy, TheBudgetCountsRestartsWithoutProgress) {
  RestartPolicy policy({.max_restarts = 2});
  EXPECT_TRUE(policy.choose(death(0, 3), {.furthest_step = 3}).restart);
  EXPECT_TRUE(policy.choose(death(1, 3), {.furthest_step = 3}).restart);
  EXPECT_TRUE(policy.choose(death(2, 3), {.furthest_step = 3}).restart);
  EXPECT_FALSE(policy.choose(death(3, 3), {.furthest_step = 3}).restart);
}

TEST(RestartPolicy, ProgressRefillsTheBudget) {
  RestartPolicy policy({.max_restarts = 1});
  (void)policy.choose(death(0, 3), {.furthest_step = 3});
  (void)policy.choose(death(1, 3), {.furthest_step = 3});
  EXPECT_TRUE(policy.choose(death(0, 4), {.furthest_step = 4}).restart);
  EXPECT_EQ(policy.without_progress(), 0);
}

TEST(RestartPolicy, ABudgetOfNoneMeansNoRestart) {
  RestartPolicy policy({.max_restarts = 0});
  EXPECT_FALSE(policy.choose(death(0, 3), {.furthest_step = 3}).restart);
}

TEST(RestartPolicy, TheSameRankInTheSameStepTwiceIsACrashLoop) {
  RestartPolicy policy({.max_restarts = 5});
  (void)policy.choose(death(2, 7), {.furthest_step = 7});
  const auto choice = policy.choose(death(2, 7), {.furthest_step = 7});
  EXPECT_TRUE(choice.crash_loop);
  EXPECT_FALSE(choice.restart);
}

TEST(RestartPolicy, AnotherRankOrAStartIsNoCrashLoop) {
  RestartPolicy policy({.max_restarts = 5});
  (void)policy.choose(death(2, 7), {.furthest_step = 7});
  EXPECT_FALSE(policy.choose(death(1, 7), {.furthest_step = 7}).crash_loop);
  (void)policy.choose(death(1, 7, observe::Phase::start), {.furthest_step = 7});
  EXPECT_FALSE(policy.choose(death(1, 7, observe::Phase::start), {.furthest_step = 7}).crash_loop);
}

TEST(RestartPolicy, APoisonedStepIsSkippedFromThenOn) {
  RestartPolicy policy({.max_restarts = 5, .skip_poison = true});
  (void)policy.choose(death(2, 7), {.furthest_step = 7});
  const auto choice = policy.choose(death(2, 7), {.furthest_step = 7});
  EXPECT_TRUE(choice.restart);
  EXPECT_EQ(choice.skip_step, 7);
  EXPECT_EQ(policy.skip_steps(), std::vector<std::int64_t>{7});
}

TEST(RestartPolicy, AStepThatFailsThoughItIsSkippedEndsTheRun) {
  RestartPolicy policy({.max_restarts = 5, .skip_poison = true});
  for (int i = 0; i < 2; ++i) (void)policy.choose(death(2, 7), {.furthest_step = 7});
  EXPECT_FALSE(policy.choose(death(2, 7), {.furthest_step = 7}).restart);
}

}  // namespace
}  // namespace dlt::supervise

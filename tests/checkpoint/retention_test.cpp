// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dlt::checkpoint::test {
namespace {

using Steps = std::vector<std::int64_t>;

std::vector<Candidate> good(const Steps& steps) {
  std::vector<Candidate> out;
  for (const std::int64_t step : steps) out.push_back({.step = step});
  return out;
}

TEST(Retention, RemovesWhatTheRuleGivesUp) {
  struct Row {
    const char* name;
    Steps there;
    std::int64_t committed;
    RetentionRule rule;
    Steps removed;
  };
  const std::vector<Row> rows{
      {"as many as keep", {10, 20, 30}, 30, {.keep = 3}, {}},
      {"the oldest goes", {10, 20, 30, 40}, 40, {.keep = 3}, {10}},
      {"one is kept", {10, 20, 30}, 30, {.keep = 1}, {10, 20}},
      {"multiples stay beside",
       {100, 150, 200, 250, 300},
       300,
       {.keep = 1, .keep_every = 100},
       {150, 250}},
      {"multiples count among the newest",
       {100, 200, 250},
       250,
       {.keep = 2, .keep_every = 100},
       {}},
      {"step 0 is no multiple", {0, 50}, 50, {.keep = 1, .keep_every = 100}, {0}},
      {"the best stays", {10, 20, 30, 40}, 40, {.keep = 1, .best = 20}, {10, 30}},
      {"the best is the new one", {10, 20}, 20, {.keep = 1, .best = 20}, {10}},
      {"newer ones stay and take room", {10, 20, 30, 40}, 20, {.keep = 2}, {10}},
      {"newer ones beyond keep stay", {20, 30, 40, 50}, 20, {.keep = 2}, {}},
  };
  for (const Row& row : rows) {
    EXPECT_THAT(steps_to_remove(good(row.there), row.committed, row.rule),
                testing::UnorderedElementsAreArray(row.removed))
        << row.name;
  }
}

TEST(Retention, GivesUpDamagedOnesFirstWhateverTheyAre) {
  std::vector<Candidate> there = good({100, 200, 300, 400});
  there[1].valid = false;  // a multiple of keep_every, and the best
  EXPECT_THAT(steps_to_remove(there, 400, {.keep = 2, .keep_every = 200, .best = 200}),
              testing::UnorderedElementsAre(100, 200));
  there = good({10, 20, 30});
  there[2].valid = false;  // newer than the committed one
  EXPECT_THAT(steps_to_remove(there, 20, {.keep = 3}), testing::ElementsAre(30));
}

TEST(Retention, ForecastCountsWhatStaysAndTheOneBeingWritten) {
  const auto fit = [](const Steps& there, std::uint64_t free_bytes, const RetentionRule& rule) {
    return saves_that_fit({.there = there,
                           .every_steps = 10,
                           .checkpoint_bytes = 100,
                           .free_bytes = free_bytes,
                           .horizon = 5},
                          rule);
  };
  EXPECT_EQ(fit({10, 20, 30}, 100, {.keep = 3}), 5);  // one beside the three, again and again
  EXPECT_EQ(fit({10, 20, 30}, 99, {.keep = 3}), 0);
  EXPECT_EQ(fit({10}, 250, {.keep = 3}), 2);  // two more come to stay, the third has no room
  EXPECT_EQ(fit({10}, 300, {.keep = 3}), 5);
  EXPECT_EQ(fit({10}, 250, {.keep = 1, .keep_every = 20}), 4);  // 20, 40, and 50 beside 60
  EXPECT_EQ(fit({10}, 250, {.keep = 1, .keep_every = 10}), 2);  // all of them stay
}

}  // namespace
}  // namespace dlt::checkpoint::test

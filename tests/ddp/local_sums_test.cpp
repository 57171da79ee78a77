// SPDX-License-Identifier: Apache-2.0
#include "ddp/local_sums.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dlt::ddp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct LocalSumsTest : testing::Test {
  LocalSums sums{{.total = 32,
                  .buckets = {{0, 16}, {16, 32}},
                  .num_leaves = 4,
                  .leaves = {0, 4},
                  .num_workers = 2}};
  std::vector<std::size_t> final_buckets;

  void give(int worker, int index, std::int64_t prefix) {
    sums.gradients_final(worker, index, prefix,
                         [this](std::size_t bucket) { final_buckets.push_back(bucket); });
  }
  void give_up(int worker) {
    sums.give_up(worker, [this](std::size_t bucket) { final_buckets.push_back(bucket); });
  }
};

TEST_F(LocalSumsTest, BucketIsFinalWithTheLastLeafOfTheLastWorker) {
  sums.begin_step();
  give(0, 0, 32);
  give(1, 0, 32);
  give(1, 1, 16);
  EXPECT_THAT(final_buckets, IsEmpty());
  give(0, 1, 16);
  EXPECT_THAT(final_buckets, ElementsAre(0));
  give(0, 1, 32);
  EXPECT_FALSE(sums.finished(1));
  give(1, 1, 32);
  EXPECT_THAT(final_buckets, ElementsAre(0, 1));
  EXPECT_TRUE(sums.finished(1));
}

TEST_F(LocalSumsTest, PrefixWithinABucketMakesNothingFinal) {
  sums.begin_step();
  give_up(1);
  give(0, 0, 32);
  give(0, 1, 15);
  EXPECT_THAT(final_buckets, IsEmpty());
}

TEST_F(LocalSumsTest, EndOfALeafMayBeSaidTwice) {
  sums.begin_step();
  give_up(1);
  give(0, 0, 32);
  give(0, 0, 32);
  give(0, 1, 32);
  give(0, 1, 32);
  EXPECT_THAT(final_buckets, ElementsAre(0, 1));
}

TEST_F(LocalSumsTest, WorkerThatGivesUpCountsEachBucketOnce) {
  for (int step = 0; step < 2; ++step) {
    sums.begin_step();
    final_buckets.clear();
    give(1, 0, 32);
    if (step == 0) give(1, 1, 16);
    give_up(1);
    give_up(1);
    EXPECT_THAT(final_buckets, IsEmpty());
    give(0, 0, 32);
    give(0, 1, 32);
    EXPECT_THAT(final_buckets, ElementsAre(0, 1));
  }
}

TEST_F(LocalSumsTest, AllLeavesEndInOneBuffer) {
  ASSERT_EQ(sums.results().size(), 1u);
  EXPECT_EQ(sums.results()[0], sums.leaf_gradients(0, 0));
}

}  // namespace
}  // namespace dlt::ddp

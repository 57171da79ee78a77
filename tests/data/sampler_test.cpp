// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::data {
namespace {

std::vector<std::int64_t> leaf(const Sampler& sampler, std::int64_t step, int number) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(sampler.leaf_capacity()));
  rows.resize(static_cast<std::size_t>(sampler.leaf_rows(step, number, rows)));
  return rows;
}

std::vector<std::int64_t> whole_step(const Sampler& sampler, std::int64_t step, int num_leaves) {
  std::vector<std::int64_t> out;
  for (int number = 0; number < num_leaves; ++number) {
    const std::vector<std::int64_t> rows = leaf(sampler, step, number);
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

TEST(Sampler, EveryEpochHoldsEveryRowOnce) {
  for (const std::int64_t num_rows : {1, 2, 7, 64, 65, 100, 1437}) {
    for (const std::int64_t batch : {1, 3, 10, 64, 2000}) {
      for (const int num_leaves : {1, 2, 3, 4, 7, 16}) {
        const Sampler sampler({.num_rows = num_rows,
                               .global_batch_size = batch,
                               .num_leaves = num_leaves,
                               .seed = 9});
        for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
          std::vector<std::int64_t> seen;
          for (std::int64_t s = 0; s < sampler.steps_per_epoch(); ++s) {
            const std::int64_t step = epoch * sampler.steps_per_epoch() + s;
            ASSERT_EQ(sampler.epoch_of(step), epoch);
            const auto rows = whole_step(sampler, step, num_leaves);
            ASSERT_EQ(static_cast<std::int64_t>(rows.size()), sampler.step_samples(step));
            seen.insert(seen.end(), rows.begin(), rows.end());
          }
          std::sort(seen.begin(), seen.end());
          ASSERT_EQ(static_cast<std::int64_t>(seen.size()), num_rows);
          for (std::size_t i = 0; i < seen.size(); ++i) {
            ASSERT_EQ(seen[i], static_cast<std::int64_t>(i));
          }
        }
      }
    }
  }
}

TEST(Sampler, LeafCountDoesNotChangeTheStep) {
  const SamplerOptions one{.num_rows = 100, .global_batch_size = 30, .num_leaves = 1, .seed = 4};
  SamplerOptions many = one;
  many.num_leaves = 7;
  for (std::int64_t step = 0; step < 8; ++step) {
    EXPECT_EQ(whole_step(Sampler(one), step, 1), whole_step(Sampler(many), step, 7));
  }
}

TEST(Sampler, LeavesDifferByOneSampleAtMost) {
  const Sampler sampler({.num_rows = 100, .global_batch_size = 30, .num_leaves = 7});
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    std::size_t least = 1000, most = 0;
    for (int number = 0; number < 7; ++number) {
      const std::size_t size = leaf(sampler, step, number).size();
      least = std::min(least, size);
      most = std::max(most, size);
    }
    EXPECT_LE(most - least, 1u);
    EXPECT_LE(static_cast<std::int64_t>(most), sampler.leaf_capacity());
  }
}

TEST(Sampler, LastBatchOfAnEpochIsShort) {
  const Sampler sampler({.num_rows = 100, .global_batch_size = 30});
  EXPECT_EQ(sampler.steps_per_epoch(), 4);
  EXPECT_EQ(sampler.step_samples(2), 30);
  EXPECT_EQ(sampler.step_samples(3), 10);
  EXPECT_EQ(sampler.step_samples(7), 10);
}

TEST(Sampler, WithoutShuffleRowsComeInFileOrder) {
  const Sampler sampler(
      {.num_rows = 10, .global_batch_size = 4, .num_leaves = 2, .shuffle = false});
  EXPECT_EQ(leaf(sampler, 0, 0), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(leaf(sampler, 1, 1), (std::vector<std::int64_t>{6, 7}));
  EXPECT_EQ(leaf(sampler, 2, 0), (std::vector<std::int64_t>{8}));
  EXPECT_EQ(leaf(sampler, 3, 0), (std::vector<std::int64_t>{0, 1}));
}

TEST(Sampler, StreamsGoOnWhereTheyStopped) {
  const Sampler sampler(
      {.num_rows = 14, .global_batch_size = 4, .num_leaves = 2, .shuffle = false, .streams = true});
  EXPECT_EQ(sampler.steps_per_epoch(), 3);  // rows 12 and 13 are left out
  EXPECT_EQ(leaf(sampler, 0, 0), (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(leaf(sampler, 0, 1), (std::vector<std::int64_t>{6, 9}));
  EXPECT_EQ(leaf(sampler, 2, 1), (std::vector<std::int64_t>{8, 11}));
  EXPECT_EQ(leaf(sampler, 3, 0), (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(sampler.step_samples(2), 4);
}

TEST(Sampler, ShufflesAnewEachEpoch) {
  const Sampler sampler({.num_rows = 50, .global_batch_size = 50, .seed = 3});
  EXPECT_NE(whole_step(sampler, 0, 1), whole_step(sampler, 1, 1));
}

TEST(Sampler, MoreLeavesThanSamplesLeavesSomeEmpty) {
  const Sampler sampler({.num_rows = 3, .global_batch_size = 3, .num_leaves = 8});
  EXPECT_EQ(sampler.leaf_capacity(), 1);
  EXPECT_EQ(whole_step(sampler, 0, 8).size(), 3u);
}

}  // namespace
}  // namespace dlt::data

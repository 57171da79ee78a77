// SPDX-License-Identifier: Apache-2.0
#include "train/running_statistics.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace dlt::train {
namespace {

TEST(RunningStatistics, MoveTowardsMeanAndUnbiasedVarianceOfTheWholeBatch) {
  tensor::FlatLayout layout;
  layout.append("bn.running_mean", {2});
  layout.append("bn.running_var", {2});
  const RunningStatisticsUpdate update({{.mean = "bn.running_mean",
                                         .variance = "bn.running_var",
                                         .momentum = 0.1,
                                         .elements_per_sample = 3}},
                                       layout);
  std::vector<float> params(static_cast<std::size_t>(layout.total), 0.0f), sums(params);
  const auto at = [&](const char* name) {
    return static_cast<std::size_t>(layout.find(name)->offset);
  };
  const std::size_t mean = at("bn.running_mean"), variance = at("bn.running_var");
  params[mean] = 2.0f;
  params[variance] = 1.0f;
  // Two leaves of weights 2 and 1 with means 3 and 6 and variances 4 and 1: of all three samples
  // the mean is 4, the variance (2 (4 + 1) + (1 + 4)) / 3 = 5.
  sums[mean] = 2 * (3 - 2) + 1 * (6 - 2);
  sums[variance] = 2 * (4 + 1) + 1 * (1 + 16);
  update.run(params.data(), sums.data(), 3.0);
  EXPECT_FLOAT_EQ(params[mean], 2.0f + 0.1f * (4.0f - 2.0f));
  EXPECT_FLOAT_EQ(params[variance], 1.0f + 0.1f * (5.0f * 9.0f / 8.0f - 1.0f));
  // Channel 1 saw zeros throughout.
  EXPECT_FLOAT_EQ(params[mean + 1], 0.0f);
}

TEST(RunningStatistics, WherePositionsCountTheyAreTheWeights) {
  tensor::FlatLayout layout;
  layout.append("bn.num_positions", {1});
  layout.append("bn.running_mean", {1});
  layout.append("bn.running_var", {1});
  const RunningStatisticsUpdate update({{.mean = "bn.running_mean",
                                         .variance = "bn.running_var",
                                         .momentum = 0.5,
                                         .elements_per_sample = 100,
                                         .num_positions = "bn.num_positions"}},
                                       layout);
  std::vector<float> params(static_cast<std::size_t>(layout.total), 0.0f), sums(params);
  const auto at = [&](const char* name) {
    return static_cast<std::size_t>(layout.find(name)->offset);
  };
  // Two leaves of 3 and 1 positions with means 1 and 5 and variances 2 and 0: of all four
  // positions the mean is 2, the variance (3 (2 + 1) + 9) / 4 = 4.5.
  sums[at("bn.num_positions")] = 4;
  sums[at("bn.running_mean")] = 3 * 1 + 1 * 5;
  sums[at("bn.running_var")] = 3 * (2 + 1) + 1 * 25;
  update.run(params.data(), sums.data(), 2.0);
  EXPECT_FLOAT_EQ(params[at("bn.num_positions")], 4.0f);
  EXPECT_FLOAT_EQ(params[at("bn.running_mean")], 0.5f * 2.0f);
  EXPECT_FLOAT_EQ(params[at("bn.running_var")], 0.5f * 4.5f * 4.0f / 3.0f);
  // A step of padding alone moves nothing.
  const std::vector<float> before = params;
  std::fill(sums.begin(), sums.end(), 0.0f);
  update.run(params.data(), sums.data(), 2.0);
  EXPECT_EQ(params[at("bn.running_mean")], before[at("bn.running_mean")]);
  EXPECT_EQ(params[at("bn.running_var")], before[at("bn.running_var")]);
}

}  // namespace
}  // namespace dlt::train

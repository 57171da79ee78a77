// SPDX-License-Identifier: Apache-2.0
#include "train/metrics.h"

#include <cmath>

#include <gtest/gtest.h>

namespace dlt::train {
namespace {

std::unique_ptr<Metric> metric(const std::string& text, const MetricContext& context) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("test", text, diagnostics);
  auto metrics = read_metrics(&node, context, diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.text();
  return metrics.empty() ? nullptr : std::move(metrics.front());
}

std::string metric_mistakes(const std::string& text, const MetricContext& context) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("test", text, diagnostics);
  (void)read_metrics(&node, context, diagnostics);
  return diagnostics.text();
}

TEST(Metrics, AccuracyCountsLargestPredictions) {
  const auto accuracy = metric("[accuracy]", {.labels = true, .width = 3});
  const std::vector<float> predictions{1, 2, 0, 3, 2, 1, 0, 0, 5};
  const std::vector<std::int32_t> labels{1, 1, 2};
  std::vector<double> sums(2);
  accuracy->accumulate({.predictions = predictions.data(),
                        .targets = labels.data(),
                        .labels = true,
                        .count = 3,
                        .width = 3},
                       sums.data());
  EXPECT_DOUBLE_EQ(accuracy->value(sums.data()), 2.0 / 3.0);
}

TEST(Metrics, PaddingIsNotCounted) {
  const auto accuracy = metric("[accuracy]", {.labels = true, .width = 2});
  const std::vector<float> predictions{1, 0, 1, 0};
  const std::vector<std::int32_t> labels{0, 1};
  std::vector<double> sums(2);
  accuracy->accumulate({.predictions = predictions.data(),
                        .targets = labels.data(),
                        .labels = true,
                        .count = 1,
                        .width = 2},
                       sums.data());
  EXPECT_DOUBLE_EQ(accuracy->value(sums.data()), 1.0);
}

TEST(Metrics, TopKBreaksTiesTowardsLowerClasses) {
  const auto top = metric("[top_k: {k: 2}]", {.labels = true, .width = 4});
  const std::vector<float> predictions{1, 1, 1, 0};
  for (const auto& [label, hit] :
       std::vector<std::pair<std::int32_t, double>>{{0, 1}, {1, 1}, {2, 0}, {3, 0}}) {
    std::vector<double> sums(2);
    top->accumulate({.predictions = predictions.data(),
                     .targets = &label,
                     .labels = true,
                     .count = 1,
                     .width = 4},
                    sums.data());
    EXPECT_EQ(top->value(sums.data()), hit) << "label " << label;
  }
}

TEST(Metrics, R2IsOneMinusResidualOverTotal) {
  const auto r2 = metric("[r2]", {.labels = false, .width = 1});
  const std::vector<float> predictions{1, 2, 4};
  const std::vector<float> targets{1, 2, 3};
  std::vector<double> sums(4);
  r2->accumulate(
      {.predictions = predictions.data(), .targets = targets.data(), .count = 3, .width = 1},
      sums.data());
  EXPECT_DOUBLE_EQ(r2->value(sums.data()), 1.0 - 1.0 / 2.0);
}

TEST(Metrics, SumsOfPartsEqualTheSumOfTheWhole) {
  const auto mae = metric("[mae]", {.labels = false, .width = 2});
  const std::vector<float> predictions{1, 2, 3, 4, 5, 6};
  const std::vector<float> targets{0, 4, 3, 1, 7, 6};
  std::vector<double> whole(2), parts(2);
  mae->accumulate(
      {.predictions = predictions.data(), .targets = targets.data(), .count = 3, .width = 2},
      whole.data());
  mae->accumulate(
      {.predictions = predictions.data(), .targets = targets.data(), .count = 1, .width = 2},
      parts.data());
  mae->accumulate({.predictions = predictions.data() + 2,
                   .targets = targets.data() + 2,
                   .count = 2,
                   .width = 2},
                  parts.data());
  EXPECT_EQ(whole, parts);
  EXPECT_DOUBLE_EQ(mae->value(whole.data()), 8.0 / 6.0);
}

TEST(Metrics, NoSamplesIsNotANumber) {
  const auto mse = metric("[mse]", {.labels = false, .width = 1});
  const std::vector<double> sums(2);
  EXPECT_TRUE(std::isnan(mse->value(sums.data())));
}

TEST(Metrics, MistakesNameWhatIsLegal) {
  EXPECT_NE(
      metric_mistakes("[acuracy]", {.labels = true, .width = 3}).find("did you mean 'accuracy'"),
      std::string::npos);
  EXPECT_NE(metric_mistakes("[mae]", {.labels = true, .width = 3}).find("labels of 3 classes"),
            std::string::npos);
  EXPECT_NE(metric_mistakes("[top_k: {k: 9}]", {.labels = true, .width = 3}).find("from 1 to 3"),
            std::string::npos);
  EXPECT_NE(
      metric_mistakes("[accuracy, accuracy]", {.labels = true, .width = 3}).find("listed twice"),
      std::string::npos);
  EXPECT_NE(metric_mistakes("accuracy", {.labels = true, .width = 3}).find("expected a list"),
            std::string::npos);
}

}  // namespace
}  // namespace dlt::train

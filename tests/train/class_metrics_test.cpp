// SPDX-License-Identifier: Apache-2.0
// Metrics of classes, sequences and spelled labels against plain formulas.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "train/metrics.h"

namespace dlt::train {
namespace {

using testing::HasSubstr;

std::vector<std::unique_ptr<Metric>> read(const std::string& text, const MetricContext& context) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("test", text, diagnostics);
  auto metrics = read_metrics(&node, context, diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.text();
  return metrics;
}

std::string mistakes(const std::string& text, const MetricContext& context) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("test", text, diagnostics);
  (void)read_metrics(&node, context, diagnostics);
  return diagnostics.text();
}

std::vector<double> sums_of(const Metric& metric, const MetricBatch& batch) {
  std::vector<double> sums(static_cast<std::size_t>(metric.num_sums()));
  metric.accumulate(batch, sums.data());
  return sums;
}

double value_of(const std::string& text, const MetricContext& context, const MetricBatch& batch) {
  const auto metrics = read(text, context);
  return metrics.front()->value(sums_of(*metrics.front(), batch).data());
}

/// Random scores and labels of `rows` rows; class 3 of 4 never occurs and is never predicted.
struct Random {
  std::vector<float> scores;
  std::vector<std::int32_t> labels;
  std::int64_t classes;
  Random(std::int64_t rows, std::int64_t classes_in) : classes(classes_in) {
    for (std::int64_t i = 0; i < rows * classes; ++i) {
      const float x = rng::normal({.seed = 1}, static_cast<std::uint64_t>(i));
      scores.push_back(classes == 4 && i % 4 == 3 ? -9.0F : x);
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto word = rng::block({.seed = 2}, static_cast<std::uint32_t>(i))[0];
      labels.push_back(static_cast<std::int32_t>(word % (classes == 4 ? 3U : 2U)));
    }
  }
  [[nodiscard]] std::int32_t predicted(std::size_t row) const {
    const auto first = scores.begin() + static_cast<std::int64_t>(row) * classes;
    return static_cast<std::int32_t>(std::max_element(first, first + classes) - first);
  }
  [[nodiscard]] MetricBatch batch(std::int64_t count, std::int64_t positions = 1) const {
    return {.predictions = scores.data(),
            .targets = labels.data(),
            .labels = true,
            .count = count,
            .width = classes,
            .positions = positions};
  }
};

/// tp, fp, fn of one class.
std::array<double, 3> counts_of(const Random& data, std::size_t rows, std::int32_t of) {
  std::array<double, 3> counts{};
  for (std::size_t row = 0; row < rows; ++row) {
    const bool said = data.predicted(row) == of, is = data.labels[row] == of;
    if (said && is) counts[0] += 1;
    if (said && !is) counts[1] += 1;
    if (!said && is) counts[2] += 1;
  }
  return counts;
}

TEST(ClassMetrics, MacroScoresAreMeansOverTheClassesThatOccur) {
  const Random data(60, 4);
  const MetricContext context{.labels = true, .width = 4};
  double precision = 0, recall = 0, f1 = 0, iou = 0;
  for (std::int32_t c = 0; c < 3; ++c) {
    const auto [tp, fp, fn] = counts_of(data, 60, c);
    precision += tp / (tp + fp) / 3;
    recall += tp / (tp + fn) / 3;
    f1 += 2 * tp / (2 * tp + fp + fn) / 3;
    iou += tp / (tp + fp + fn) / 3;
  }
  EXPECT_NEAR(value_of("[precision]", context, data.batch(60)), precision, 1e-14);
  EXPECT_NEAR(value_of("[recall]", context, data.batch(60)), recall, 1e-14);
  EXPECT_NEAR(value_of("[f1]", context, data.batch(60)), f1, 1e-14);
  EXPECT_NEAR(value_of("[{f1: {average: macro}}]", context, data.batch(60)), f1, 1e-14);
  EXPECT_NEAR(value_of("[mean_iou]", context, data.batch(60)), iou, 1e-14);
}

TEST(ClassMetrics, MicroScoresOfOneLabelEachAreTheAccuracy) {
  const Random data(60, 4);
  const MetricContext context{.labels = true, .width = 4};
  const double accuracy = value_of("[accuracy]", context, data.batch(60));
  for (const char* name : {"precision", "recall", "f1"}) {
    const std::string text = std::string("[{") + name + ": {average: micro}}]";
    EXPECT_NEAR(value_of(text, context, data.batch(60)), accuracy, 1e-14) << name;
  }
}

TEST(ClassMetrics, BinaryScoresAreThoseOfClassOne) {
  const Random data(40, 2);
  const auto [tp, fp, fn] = counts_of(data, 40, 1);
  const MetricContext context{.labels = true, .width = 2};
  EXPECT_DOUBLE_EQ(value_of("[precision]", context, data.batch(40)), tp / (tp + fp));
  EXPECT_DOUBLE_EQ(value_of("[recall]", context, data.batch(40)), tp / (tp + fn));
}

TEST(ClassMetrics, NumbersAreDecidedByAThreshold) {
  const std::vector<float> scores{0.9F, 0.2F, 0.6F, 0.7F}, targets{1, 1, 0, 1};
  const MetricBatch batch{
      .predictions = scores.data(), .targets = targets.data(), .count = 4, .width = 1};
  const MetricContext context{.loss = "binary_cross_entropy", .probabilities = true};
  EXPECT_DOUBLE_EQ(value_of("[precision]", context, batch), 2.0 / 3);
  EXPECT_DOUBLE_EQ(value_of("[recall]", context, batch), 2.0 / 3);
  EXPECT_DOUBLE_EQ(value_of("[{recall: {threshold: 0.1}}]", context, batch), 1.0);
}

TEST(ClassMetrics, ConfusionMatrixHasLabelsInRows) {
  const Random data(60, 4);
  const auto metrics = read("[confusion_matrix]", {.labels = true, .width = 4});
  ASSERT_EQ(metrics.front()->num_columns(), 4);
  std::vector<double> wanted(16);
  for (std::size_t row = 0; row < 60; ++row) {
    wanted[static_cast<std::size_t>(data.labels[row] * 4 + data.predicted(row))] += 1;
  }
  EXPECT_EQ(sums_of(*metrics.front(), data.batch(60)), wanted);
}

TEST(ClassMetrics, LabelsThatDoNotCountAndPaddingAreLeftOut) {
  Random data(60, 4);
  const MetricContext context{.labels = true, .width = 4, .positions = 6, .ignored = -1};
  std::vector<float> mask(60, 1.0F);
  Random kept(0, 4);
  for (std::size_t row = 0; row < 60; ++row) {
    if (row % 6 == 5) {
      mask[row] = 0;
    } else if (row % 7 == 0) {
      data.labels[row] = -1;
    } else {
      kept.labels.push_back(data.labels[row]);
      const auto first = data.scores.begin() + static_cast<std::int64_t>(row) * 4;
      kept.scores.insert(kept.scores.end(), first, first + 4);
    }
  }
  MetricBatch masked = data.batch(10, 6);
  masked.mask = mask.data();
  const auto count = static_cast<std::int64_t>(kept.labels.size());
  for (const char* name : {"[accuracy]", "[f1]", "[top_k: {k: 2}]", "[mean_iou]"}) {
    EXPECT_DOUBLE_EQ(value_of(name, context, masked), value_of(name, context, kept.batch(count)))
        << name;
  }
  const auto table = read("[confusion_matrix]", context);
  EXPECT_EQ(sums_of(*table.front(), masked), sums_of(*table.front(), kept.batch(count)));
}

TEST(ClassMetrics, TopOfWideRowsIsTheLargest) {
  for (const std::int64_t width : {1, 15, 16, 17, 40, 1000}) {
    std::vector<float> scores(static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = rng::normal({.seed = 9}, i);
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    const auto label = static_cast<std::int32_t>(best);
    const MetricBatch batch{.predictions = scores.data(),
                            .targets = &label,
                            .labels = true,
                            .count = 1,
                            .width = width};
    EXPECT_EQ(value_of("[accuracy]", {.labels = true, .width = width}, batch), 1.0) << width;
  }
}

/// The share of pairs in the right order, ties half: what the area under the curve is.
double pairs_in_order(const std::vector<double>& scores, const std::vector<bool>& positive) {
  double right = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (!positive[i] || positive[j]) continue;
      right += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      pairs += 1;
    }
  }
  return right / pairs;
}

TEST(ClassMetrics, AucIsTheShareOfPairsInOrder) {
  std::vector<float> scores, targets;
  std::vector<double> exact;
  std::vector<bool> positive;
  for (std::uint64_t i = 0; i < 90; ++i) {
    // In the middle of one of 20 parts, so that only equal scores share one.
    const double score = (std::floor(20 * static_cast<double>(rng::uniform({.seed = 4}, i))) + 0.5);
    scores.push_back(static_cast<float>(score / 20));
    exact.push_back(score);
    positive.push_back(static_cast<double>(rng::uniform({.seed = 5}, i)) * 20 < score);
    targets.push_back(positive.back() ? 1 : 0);
  }
  const MetricBatch batch{
      .predictions = scores.data(), .targets = targets.data(), .count = 90, .width = 1};
  const MetricContext context{.probabilities = true};
  const double wanted = pairs_in_order(exact, positive);
  EXPECT_NEAR(value_of("[auc: {num_thresholds: 20}]", context, batch), wanted, 1e-12);
  EXPECT_NEAR(value_of("[auc]", context, batch), wanted, 1e-12);
  EXPECT_NEAR(value_of("[auc: {num_thresholds: 2}]", context, batch), wanted, 0.2);

  std::vector<float> logits;
  for (const float p : scores) logits.push_back(std::log(p / (1 - p)));
  MetricBatch of_logits = batch;
  of_logits.predictions = logits.data();
  EXPECT_NEAR(value_of("[auc]", {.threshold = 0}, of_logits), wanted, 1e-12);

  std::vector<float> two;  // the same as logits of two classes
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    two.insert(two.end(), {1.0F, 1.0F + logits[i]});
    labels.push_back(positive[i] ? 1 : 0);
  }
  const MetricBatch of_labels{
      .predictions = two.data(), .targets = labels.data(), .labels = true, .count = 90, .width = 2};
  EXPECT_NEAR(value_of("[auc]", {.labels = true, .width = 2}, of_labels), wanted, 1e-3);
}

TEST(ClassMetrics, AucOfOneClassAloneIsNotANumber) {
  const float score = 0.5F, target = 1;
  const MetricBatch batch{.predictions = &score, .targets = &target, .count = 1, .width = 1};
  EXPECT_TRUE(std::isnan(value_of("[auc]", {.probabilities = true}, batch)));
}

TEST(ClassMetrics, PerplexityWeighsSamplesByTheirLabels) {
  const std::vector<std::int32_t> labels{0, 1, 2, 1, -1, -1};
  const std::vector<float> losses{0.5F, 2.0F}, scores(18);
  const MetricBatch batch{.predictions = scores.data(),
                          .targets = labels.data(),
                          .losses = losses.data(),
                          .labels = true,
                          .count = 2,
                          .width = 3,
                          .positions = 3};
  const MetricContext context{
      .labels = true, .width = 3, .positions = 3, .likelihood = true, .ignored = -1};
  EXPECT_NEAR(value_of("[perplexity]", context, batch), std::exp((0.5 * 3 + 2.0) / 4), 1e-12);
}

/// One-hot predictions of a path over 4 classes; 0 is the blank.
double edits(const std::string& metric, const std::vector<std::int32_t>& path,
             const std::vector<std::int32_t>& labels) {
  std::vector<float> scores;
  for (const std::int32_t best : path) {
    for (std::int32_t c = 0; c < 4; ++c) scores.push_back(c == best ? 1.0F : 0.0F);
  }
  const MetricContext context{.labels = true,
                              .width = 4,
                              .positions = static_cast<std::int64_t>(path.size()),
                              .ignored = -1,
                              .blank = 0,
                              .max_labels = static_cast<std::int64_t>(labels.size())};
  const MetricBatch batch{.predictions = scores.data(),
                          .targets = labels.data(),
                          .labels = true,
                          .count = 1,
                          .width = 4,
                          .positions = context.positions};
  return value_of("[" + metric + "]", context, batch);
}

TEST(ClassMetrics, EditDistanceIsThatOfTheCollapsedBestPath) {
  EXPECT_EQ(edits("edit_distance", {0, 1, 1, 0, 1, 2, 0}, {1, 1, 2}), 0);
  EXPECT_EQ(edits("edit_distance", {1, 1, 1, 2}, {1, 2, -1}), 0);
  EXPECT_EQ(edits("edit_distance", {1, 0, 3, 0}, {1, 2, 3}), 1);   // one left out
  EXPECT_EQ(edits("edit_distance", {1, 2, 3, 0}, {1, 3, -1}), 1);  // one too many
  EXPECT_EQ(edits("edit_distance", {2, 0, 0, 0}, {3, -1, -1}), 1);
  EXPECT_EQ(edits("edit_distance", {0, 0, 0}, {3, 2, 1}), 3);
  EXPECT_DOUBLE_EQ(edits("error_rate", {1, 0, 3, 0}, {1, 2, 3}), 1.0 / 3);
}

TEST(ClassMetrics, MistakesSayWhatGoesWithTheLoss) {
  const MetricContext labels{.labels = true, .width = 3, .loss = "focal"};
  EXPECT_THAT(mistakes("[mae]", labels),
              testing::AllOf(HasSubstr("got 'mae', a metric of values"),
                             HasSubstr("with focal, targets are labels of 3 classes; legal: "
                                       "accuracy, confusion_matrix, f1, mean_iou, precision, "
                                       "recall, top_k")));
  EXPECT_THAT(mistakes("[auc]", labels), HasSubstr("a metric of two classes"));
  EXPECT_THAT(mistakes("[perplexity]", labels), HasSubstr("without label_smoothing"));
  EXPECT_THAT(mistakes("[edit_distance]", labels), HasSubstr("a metric of ctc"));
  EXPECT_THAT(mistakes("[accuracy]", {.labels = true, .width = 3, .loss = "ctc", .blank = 0}),
              testing::AllOf(HasSubstr("targets are spelled labels"),
                             HasSubstr("legal: edit_distance, error_rate")));
  EXPECT_THAT(mistakes("[top_k]", {.width = 3, .loss = "mse"}),
              HasSubstr("with mse, targets are values"));
  EXPECT_THAT(mistakes("[f1: {average: binary}]", labels),
              HasSubstr("expected one of macro, micro, got 'binary'"));
  EXPECT_THAT(mistakes("[confusion_matrix]", {.labels = true, .width = 257}),
              HasSubstr("at most 256 classes, got 257"));
}

}  // namespace
}  // namespace dlt::train

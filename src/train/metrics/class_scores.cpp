// SPDX-License-Identifier: Apache-2.0
// precision, recall, f1, mean_iou and confusion_matrix: what counts of decisions say.
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "train/metrics/decisions.h"

namespace dlt::train {
namespace {

enum class Average : std::uint8_t { binary, macro, micro };

/// Of one class: right decisions for it, wrong ones for it, and its labels that were missed.
struct Counts {
  double hits = 0, false_alarms = 0, misses = 0;
};
using Score = double (*)(const Counts& c);

/// 0 where nothing was decided, as elsewhere.
double share(double part, double whole) { return whole > 0 ? part / whole : 0.0; }
double precision(const Counts& c) { return share(c.hits, c.hits + c.false_alarms); }
double recall(const Counts& c) { return share(c.hits, c.hits + c.misses); }
double f1(const Counts& c) { return share(2 * c.hits, 2 * c.hits + c.false_alarms + c.misses); }
double iou(const Counts& c) { return share(c.hits, c.hits + c.false_alarms + c.misses); }

/// binary: the score of class 1. macro: the mean over the classes that occur, as label or as
/// prediction. micro: the score of all classes' counts together. Sums: three counts a class.
class ClassScore final : public Metric {
 public:
  ClassScore(std::string name, Score score, Average average, const MetricContext& context)
      : name_(std::move(name)),
        score_(score),
        average_(average),
        context_(context),
        num_classes_(decided_classes(context)) {}
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] int num_sums() const override { return static_cast<int>(3 * num_classes_); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    for_decisions(batch, context_, [&](std::int64_t actual, std::int64_t predicted) {
      if (actual == predicted) {
        sums[3 * actual] += 1;
      } else {
        sums[3 * predicted + 1] += 1;
        sums[3 * actual + 2] += 1;
      }
    });
  }
  [[nodiscard]] double value(const double* sums) const override {
    Counts all;
    double total = 0, classes = 0;
    for (std::int64_t c = 0; c < num_classes_; ++c) {
      const Counts one{sums[3 * c], sums[3 * c + 1], sums[3 * c + 2]};
      all.hits += one.hits;
      all.false_alarms += one.false_alarms;
      all.misses += one.misses;
      if (one.hits + one.false_alarms + one.misses == 0) continue;
      total += score_(one);
      classes += 1;
    }
    if (classes == 0) return std::numeric_limits<double>::quiet_NaN();
    switch (average_) {
      case Average::binary:
        return score_({sums[3], sums[4], sums[5]});
      case Average::macro:
        return total / classes;
      case Average::micro:
        return score_(all);
    }
    return 0;
  }

 private:
  std::string name_;
  Score score_;
  Average average_;
  MetricContext context_;
  std::int64_t num_classes_;
};

/// Rows are labels, columns predictions.
class ConfusionMatrix final : public Metric {
 public:
  explicit ConfusionMatrix(const MetricContext& context)
      : context_(context), num_classes_(decided_classes(context)) {}
  [[nodiscard]] std::string name() const override { return "confusion_matrix"; }
  [[nodiscard]] int num_sums() const override {
    return static_cast<int>(num_classes_ * num_classes_);
  }
  [[nodiscard]] int num_columns() const override { return static_cast<int>(num_classes_); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    for_decisions(batch, context_, [&](std::int64_t actual, std::int64_t predicted) {
      sums[actual * num_classes_ + predicted] += 1;
    });
  }
  /// The share of the diagonal.
  [[nodiscard]] double value(const double* sums) const override {
    double hits = 0, all = 0;
    for (std::int64_t i = 0; i < num_classes_ * num_classes_; ++i) {
      hits += i % (num_classes_ + 1) == 0 ? sums[i] : 0;
      all += sums[i];
    }
    return ratio(hits, all);
  }

 private:
  MetricContext context_;
  std::int64_t num_classes_;
};

/// `threshold` of decisions on numbers.
MetricContext with_threshold(config::MapReader& options, const MetricContext& context) {
  MetricContext out = context;
  if (!context.labels) {
    out.threshold = options.number("threshold", {.min = -1e30, .max = 1e30}, context.threshold);
  }
  return out;
}

std::unique_ptr<Metric> make_score(config::MapReader& options, const MetricContext& context,
                                   const std::string& name, Score score) {
  const bool two = decided_classes(context) == 2;
  const bool given = options.has("average");
  const std::vector<std::string> legal = two ? std::vector<std::string>{"binary", "macro", "micro"}
                                             : std::vector<std::string>{"macro", "micro"};
  const std::string word = options.choice("average", legal, std::string(two ? "binary" : "macro"));
  const Average average = word == "binary"  ? Average::binary
                          : word == "micro" ? Average::micro
                                            : Average::macro;
  return std::make_unique<ClassScore>(given ? cat(name, "_", word) : name, score, average,
                                      with_threshold(options, context));
}

constexpr std::int64_t kMaxTableClasses = 256;

}  // namespace

std::unique_ptr<Metric> make_precision(config::MapReader& options, const MetricContext& context) {
  return make_score(options, context, "precision", precision);
}
std::unique_ptr<Metric> make_recall(config::MapReader& options, const MetricContext& context) {
  return make_score(options, context, "recall", recall);
}
std::unique_ptr<Metric> make_f1(config::MapReader& options, const MetricContext& context) {
  return make_score(options, context, "f1", f1);
}

std::unique_ptr<Metric> make_mean_iou(config::MapReader& options, const MetricContext& context) {
  return std::make_unique<ClassScore>("mean_iou", iou, Average::macro,
                                      with_threshold(options, context));
}

std::unique_ptr<Metric> make_confusion_matrix(config::MapReader& options,
                                              const MetricContext& context) {
  if (decided_classes(context) > kMaxTableClasses) {
    options.diagnostics().error(
        options.mark(""), options.path(),
        cat("expected at most ", kMaxTableClasses, " classes, got ", decided_classes(context)),
        "f1 and recall also tell classes apart: average: macro");
    return nullptr;
  }
  return std::make_unique<ConfusionMatrix>(with_threshold(options, context));
}

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
// auc: the area under the ROC curve, from counts of scores in num_thresholds equal parts of [0, 1].
#include <algorithm>
#include <cmath>

#include "train/metrics/registry.h"

namespace dlt::train {
namespace {

/// Two scores in one part count as equal, so the resolution is 1 / num_thresholds. Sums: the counts
/// of class 0 in each part, then those of class 1.
class Auc final : public Metric {
 public:
  Auc(std::int64_t num_parts, const MetricContext& context)
      : num_parts_(num_parts), context_(context) {}
  [[nodiscard]] std::string name() const override { return "auc"; }
  [[nodiscard]] int num_sums() const override { return static_cast<int>(2 * num_parts_); }

  void accumulate(const MetricBatch& batch, double* sums) const override {
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const float* p = batch.predictions + row * batch.width;
      if (!batch.real(row)) continue;
      if (batch.labels) {
        const std::int32_t label = batch.classes()[row];
        if (label == context_.ignored) continue;
        count(label == 1, context_.probabilities ? probability(p[1]) : logistic(p[1] - p[0]), sums);
        continue;
      }
      for (std::int64_t j = 0; j < batch.width; ++j) {
        const bool is = batch.values()[row * batch.width + j] > 0.5F;
        const bool logits = !context_.probabilities && context_.threshold == 0.0;
        count(is, logits ? logistic(p[j]) : probability(p[j]), sums);
      }
    }
  }

  /// The chance that a sample of class 1 scores above one of class 0, ties counted half.
  [[nodiscard]] double value(const double* sums) const override {
    const double *negative = sums, *positive = sums + num_parts_;
    double below = 0, area = 0, positives = 0;
    for (std::int64_t i = 0; i < num_parts_; ++i) {
      area += positive[i] * (below + 0.5 * negative[i]);
      below += negative[i];
      positives += positive[i];
    }
    return ratio(area, below * positives);
  }

 private:
  static double logistic(float x) { return 1.0 / (1.0 + std::exp(-static_cast<double>(x))); }
  static double probability(float p) { return static_cast<double>(p); }
  void count(bool positive, double score, double* sums) const {
    if (std::isnan(score)) return;
    const double parts = static_cast<double>(num_parts_);
    const auto part = static_cast<std::int64_t>(std::clamp(score * parts, 0.0, parts - 1.0));
    sums[(positive ? num_parts_ : 0) + part] += 1.0;
  }

  std::int64_t num_parts_;
  MetricContext context_;
};

}  // namespace

std::unique_ptr<Metric> make_auc(config::MapReader& options, const MetricContext& context) {
  return std::make_unique<Auc>(options.integer("num_thresholds", {.min = 2, .max = 65536}, 200),
                               context);
}

}  // namespace dlt::train

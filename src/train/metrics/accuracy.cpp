// SPDX-License-Identifier: Apache-2.0
// accuracy and top_k.
#include <algorithm>

#include "base/text.h"
#include "train/metrics/registry.h"

namespace dlt::train {
namespace {

/// Share of labels that are the largest prediction's class; of numbers, share of those on the
/// target's side of the threshold. Sums: hits, decisions.
class Accuracy final : public Metric {
 public:
  explicit Accuracy(const MetricContext& context)
      : threshold_(context.threshold), ignored_(context.ignored) {}
  [[nodiscard]] std::string name() const override { return "accuracy"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    std::int64_t hits = 0, decisions = 0;
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const float* prediction = batch.predictions + row * batch.width;
      if (!batch.real(row)) continue;
      if (batch.labels) {
        if (batch.classes()[row] == ignored_) continue;
        hits += argmax(prediction, batch.width) == batch.classes()[row] ? 1 : 0;
        ++decisions;
        continue;
      }
      for (std::int64_t j = 0; j < batch.width; ++j) {
        const bool decision = static_cast<double>(prediction[j]) > threshold_;
        hits += decision == (batch.values()[row * batch.width + j] > 0.5F) ? 1 : 0;
      }
      decisions += batch.width;
    }
    sums[0] += static_cast<double>(hits);
    sums[1] += static_cast<double>(decisions);
  }

 private:
  double threshold_;
  std::optional<std::int64_t> ignored_;
};

/// Share of labels among the k largest predictions. Sums: hits, labels. Ties go to the lower class.
class TopK final : public Metric {
 public:
  TopK(std::int64_t k, const MetricContext& context) : k_(k), ignored_(context.ignored) {}
  [[nodiscard]] std::string name() const override { return cat("top_", k_); }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const std::int64_t label = batch.classes()[row];
      if (!batch.real(row) || label == ignored_) continue;
      const float* prediction = batch.predictions + row * batch.width;
      std::int64_t better = 0;
      for (std::int64_t c = 0; c < batch.width; ++c) {
        const bool ahead =
            prediction[c] > prediction[label] || (prediction[c] == prediction[label] && c < label);
        better += ahead ? 1 : 0;
      }
      sums[0] += better < k_ ? 1.0 : 0.0;
      sums[1] += 1.0;
    }
  }

 private:
  std::int64_t k_;
  std::optional<std::int64_t> ignored_;
};

}  // namespace

std::unique_ptr<Metric> make_accuracy(config::MapReader&, const MetricContext& context) {
  return std::make_unique<Accuracy>(context);
}

std::unique_ptr<Metric> make_top_k(config::MapReader& reader, const MetricContext& context) {
  const std::int64_t k =
      reader.integer("k", {.min = 1, .max = std::max<std::int64_t>(context.width, 1)},
                     std::min<std::int64_t>(5, context.width));
  return std::make_unique<TopK>(k, context);
}

}  // namespace dlt::train

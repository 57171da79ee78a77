// SPDX-License-Identifier: Apache-2.0
// edit_distance and error_rate of ctc: what the best class of each step spells against the labels.
#include <algorithm>
#include <vector>

#include "train/metrics/registry.h"

namespace dlt::train {
namespace {

/// Insertions, deletions and replacements that turn one row of labels into another (Levenshtein).
std::int64_t distance(const std::vector<std::int32_t>& a, const std::int32_t* b, std::size_t b_size,
                      std::vector<std::int64_t>& costs) {
  costs.resize(b_size + 1);
  for (std::size_t j = 0; j <= b_size; ++j) costs[j] = static_cast<std::int64_t>(j);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::int64_t diagonal = costs[0];
    costs[0] = static_cast<std::int64_t>(i) + 1;
    for (std::size_t j = 0; j < b_size; ++j) {
      const std::int64_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = costs[j + 1];
      costs[j + 1] = std::min({replaced, costs[j] + 1, costs[j + 1] + 1});
    }
  }
  return costs[b_size];
}

/// Sums: edits, and what they are divided by: samples (a mean distance) or labels (a rate).
class Edits final : public Metric {
 public:
  Edits(bool rate, const MetricContext& context, std::int64_t max_labels)
      : rate_(rate), blank_(context.blank.value_or(0)), max_labels_(max_labels) {}
  [[nodiscard]] std::string name() const override { return rate_ ? "error_rate" : "edit_distance"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    // Kept from leaf to leaf by each thread, so that steps do not allocate; no state otherwise.
    thread_local std::vector<std::int32_t> spelled;
    thread_local std::vector<std::int64_t> costs;
    for (std::int64_t b = 0; b < batch.count; ++b) {
      spell(batch, b, spelled);
      const std::int32_t* labels = batch.classes() + b * max_labels_;
      const auto length = static_cast<std::size_t>(
          std::find(labels, labels + max_labels_, std::int32_t{-1}) - labels);
      sums[0] += static_cast<double>(distance(spelled, labels, length, costs));
      sums[1] += rate_ ? static_cast<double>(length) : 1.0;
    }
  }

 private:
  /// The best class of each real step, repetitions and blanks left out.
  void spell(const MetricBatch& batch, std::int64_t sample, std::vector<std::int32_t>& out) const {
    out.clear();
    std::int64_t last = blank_;
    for (std::int64_t t = 0; t < batch.positions; ++t) {
      const std::int64_t row = sample * batch.positions + t;
      if (!batch.real(row)) continue;
      const std::int64_t best = argmax(batch.predictions + row * batch.width, batch.width);
      if (best != last && best != blank_) out.push_back(static_cast<std::int32_t>(best));
      last = best;
    }
  }

  bool rate_;
  std::int64_t blank_, max_labels_;
};

}  // namespace

std::unique_ptr<Metric> make_edit_distance(config::MapReader&, const MetricContext& context) {
  return std::make_unique<Edits>(false, context, context.max_labels);
}

std::unique_ptr<Metric> make_error_rate(config::MapReader&, const MetricContext& context) {
  return std::make_unique<Edits>(true, context, context.max_labels);
}

}  // namespace dlt::train

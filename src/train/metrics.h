// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/node.h"
#include "tensor/shape.h"

namespace dlt::train {

/// Predictions and targets of the samples of one leaf.
struct MetricBatch {
  const float* predictions = nullptr;  // [count, positions, width]
  const void* targets = nullptr;       // i32 labels [count, positions] (of ctc: [count, L]), else
                                       // f32 as the predictions
  const float* losses = nullptr;       // [count]
  const float* mask = nullptr;         // [count, positions], 0 for padding; null: all are real
  bool labels = false;
  std::int64_t count = 0;      // real samples; padding is not counted
  std::int64_t width = 1;      // numbers of a position
  std::int64_t positions = 1;  // of a sample

  [[nodiscard]] std::int64_t rows() const { return count * positions; }
  [[nodiscard]] bool real(std::int64_t row) const { return mask == nullptr || mask[row] > 0.5F; }
  [[nodiscard]] const std::int32_t* classes() const {
    return static_cast<const std::int32_t*>(targets);
  }
  [[nodiscard]] const float* values() const { return static_cast<const float*>(targets); }
};

/// A metric as sums over samples, so that it is the same for any number of ranks: never a mean of
/// means.
class Metric {
 public:
  virtual ~Metric() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual int num_sums() const = 0;
  /// Adds a leaf's samples to num_sums() totals.
  virtual void accumulate(const MetricBatch& batch, double* sums) const = 0;
  /// The metric of the totals; NaN where it is not defined (no samples).
  [[nodiscard]] virtual double value(const double* sums) const = 0;
  /// 0 for a number; else the totals are a table of that many columns, which evaluations report and
  /// steps of training leave out.
  [[nodiscard]] virtual int num_columns() const { return 0; }
  /// Whether accumulate() looks at predictions: if no metric does, a GPU keeps them.
  [[nodiscard]] virtual bool reads_predictions() const { return true; }
};

/// What metrics need to know of the model and loss they judge.
struct MetricContext {
  bool labels = false;         // targets are class labels
  std::int64_t width = 1;      // numbers of a position: the classes of labels
  double threshold = 0.5;      // binary decisions: predictions above it are class 1 (0 for logits)
  std::int64_t positions = 1;  // of a sample
  std::string loss = {};
  bool probabilities = false;                // the model ends in softmax or sigmoid
  bool likelihood = false;                   // the loss is minus the log of the label's probability
  std::optional<std::int64_t> ignored = {};  // the label that does not count
  std::optional<std::int64_t> blank = {};    // of ctc
  std::int64_t max_labels = 1;               // of ctc: labels of a sample
};

/// Reads `metrics:`, a list of words or of maps of one name to its options: {top_k: {k: 5}}. A
/// metric that does not go with the loss is a mistake that says what does.
[[nodiscard]] std::vector<std::unique_ptr<Metric>> read_metrics(const config::Node* node,
                                                                const MetricContext& context,
                                                                config::Diagnostics& diagnostics);
[[nodiscard]] std::vector<std::string> metric_names();

}  // namespace dlt::train

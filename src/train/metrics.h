// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/node.h"
#include "tensor/shape.h"

namespace dlt::train {

/// Predictions and targets of the samples of one leaf.
struct MetricBatch {
  const float* predictions = nullptr;  // [count, width]
  const void* targets = nullptr;       // i32 [count] for labels, else f32 [count, width]
  bool labels = false;
  std::int64_t count = 0;  // real samples; padding is not counted
  std::int64_t width = 1;  // numbers a prediction
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
};

/// What metrics need to know of the model and loss they judge.
struct MetricContext {
  bool labels = false;     // targets are class labels
  std::int64_t width = 1;  // numbers a prediction
  double threshold = 0.5;  // binary decisions: predictions above it are class 1 (0 for logits)
};

/// Reads `metrics:`, a list of words (accuracy, mae, mse, r2, top_k) or {top_k: {k: 5}}.
/// accuracy: share of samples whose largest prediction is the label's (labels); of numbers on the
/// target's side of the threshold (values). r2: 1 - residual / total sum of squares, over all
/// outputs.
[[nodiscard]] std::vector<std::unique_ptr<Metric>> read_metrics(const config::Node* node,
                                                                const MetricContext& context,
                                                                config::Diagnostics& diagnostics);
[[nodiscard]] std::vector<std::string> metric_names();

}  // namespace dlt::train

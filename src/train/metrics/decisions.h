// SPDX-License-Identifier: Apache-2.0
// Decisions as pairs of classes: what a label is and what the prediction says.
#pragma once

#include "train/metrics/registry.h"

namespace dlt::train {

/// Classes of the decisions: those of the labels; two where numbers stand for no and yes.
[[nodiscard]] inline std::int64_t decided_classes(const MetricContext& context) {
  return context.labels ? context.width : 2;
}

/// Calls use(actual, predicted) for each decision that counts.
template <typename F>
void for_decisions(const MetricBatch& batch, const MetricContext& context, F use) {
  for (std::int64_t row = 0; row < batch.rows(); ++row) {
    const float* prediction = batch.predictions + row * batch.width;
    if (!batch.real(row)) continue;
    if (batch.labels) {
      const std::int64_t label = batch.classes()[row];
      if (label != context.ignored) use(label, argmax(prediction, batch.width));
      continue;
    }
    for (std::int64_t j = 0; j < batch.width; ++j) {
      const bool said = static_cast<double>(prediction[j]) > context.threshold;
      const bool is = batch.values()[row * batch.width + j] > 0.5F;
      use(std::int64_t{is ? 1 : 0}, std::int64_t{said ? 1 : 0});
    }
  }
}

}  // namespace dlt::train

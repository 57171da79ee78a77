// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <memory>

#include "train/metrics.h"

namespace dlt::train {

/// What each line of metrics.def stands for. A maker asks the reader for its options; the caller
/// ends with reader.finish() and has checked that the metric goes with the loss.
#define DLT_METRIC(name, use) \
  std::unique_ptr<Metric> make_##name(config::MapReader& options, const MetricContext& context);
#include "train/metrics.def"
#undef DLT_METRIC

[[nodiscard]] inline double ratio(double sum, double weight) {
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

/// The place of the first of the largest numbers.
[[nodiscard]] std::int64_t argmax(const float* row, std::int64_t width);

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#include "train/running_statistics.h"

#include <algorithm>

#include "base/error.h"

namespace dlt::train {

RunningStatisticsUpdate::RunningStatisticsUpdate(
    const std::vector<nn::RunningStatistics>& statistics, const tensor::FlatLayout& layout) {
  for (const nn::RunningStatistics& row : statistics) {
    const tensor::FlatLayout::Entry* mean = layout.find(row.mean);
    const tensor::FlatLayout::Entry* variance = layout.find(row.variance);
    DLT_CHECK(mean != nullptr && variance != nullptr && mean->numel == variance->numel, row.mean);
    const tensor::FlatLayout::Entry* positions =
        row.num_positions.empty() ? nullptr : layout.find(row.num_positions);
    DLT_CHECK(row.num_positions.empty() || positions != nullptr, row.num_positions);
    pairs_.push_back({.mean = mean->offset,
                      .variance = variance->offset,
                      .positions = positions != nullptr ? positions->offset : -1,
                      .size = mean->numel,
                      .momentum = row.momentum,
                      .elements_per_sample = static_cast<double>(row.elements_per_sample)});
  }
}

void RunningStatisticsUpdate::run(float* params, const float* sums, double weight_sum) const {
  if (!(weight_sum > 0)) return;
  for (const Pair& pair : pairs_) {
    double total = weight_sum, n = weight_sum * pair.elements_per_sample;
    if (pair.positions >= 0) {
      params[pair.positions] = sums[pair.positions];
      total = n = static_cast<double>(sums[pair.positions]);
      if (!(total > 0)) continue;
    }
    const double unbiased = n > 1 ? n / (n - 1) : 1;
    for (std::int64_t i = 0; i < pair.size; ++i) {
      float& mean = params[pair.mean + i];
      float& variance = params[pair.variance + i];
      const double shift = static_cast<double>(sums[pair.mean + i]) / total;
      const double spread = static_cast<double>(sums[pair.variance + i]) / total;
      const double batch_variance = std::max(spread - shift * shift, 0.0) * unbiased;
      mean = static_cast<float>(static_cast<double>(mean) + pair.momentum * shift);
      variance =
          static_cast<float>(static_cast<double>(variance) +
                             pair.momentum * (batch_variance - static_cast<double>(variance)));
    }
  }
}

std::vector<double> RunningStatisticsUpdate::table() const {
  std::vector<double> rows;
  for (const Pair& pair : pairs_) {
    for (const std::int64_t number : {pair.mean, pair.variance, pair.positions, pair.size}) {
      rows.push_back(static_cast<double>(number));
    }
    rows.push_back(pair.momentum);
    rows.push_back(pair.elements_per_sample);
  }
  return rows;
}

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "nn/layer.h"
#include "tensor/flat_layout.h"

namespace dlt::train {

/// Moves the running statistics of a model (batch_norm) by one step's reduced sums: the statistics
/// of the whole global batch, whatever its division into leaves. See nn::RunningStatistics for the
/// arithmetic. Allocates only when made.
class RunningStatisticsUpdate {
 public:
  RunningStatisticsUpdate(const std::vector<nn::RunningStatistics>& statistics,
                          const tensor::FlatLayout& layout);

  /// params and sums are the whole flat buffers; weight_sum is that of all samples of the step.
  void run(float* params, const float* sums, double weight_sum) const;

  /// The same for a device's kernel "running_statistics_update": a row of kTableColumns numbers for
  /// each pair: offsets of mean, variance and positions (-1: none), size, momentum, elements a
  /// sample.
  static constexpr std::int64_t kTableColumns = 6;
  [[nodiscard]] std::vector<double> table() const;

 private:
  struct Pair {
    std::int64_t mean = 0, variance = 0;  // offsets in the flat buffers
    std::int64_t positions = -1;          // likewise; -1: samples count whole
    std::int64_t size = 0;
    double momentum = 0, elements_per_sample = 0;
  };
  std::vector<Pair> pairs_;
};

}  // namespace dlt::train

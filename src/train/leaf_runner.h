// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "autodiff/executor.h"
#include "data/loader.h"
#include "nn/loss.h"
#include "train/metrics.h"

namespace dlt::train {

/// Sums of one leaf, in the order [loss, weight, metric sums...].
struct SumLayout {
  const std::vector<std::unique_ptr<Metric>>* metrics = nullptr;
  bool labels = false;
  [[nodiscard]] int size() const;
  /// Weighted mean of the loss.
  [[nodiscard]] double loss(std::span<const double> sums) const { return sums[0] / sums[1]; }
  /// Value of each metric.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values(
      std::span<const double> sums) const;
};

/// Runs leaves of one program for one worker thread: binds the leaf, executes, adds up loss and
/// metrics.
class LeafRunner {
 public:
  LeafRunner(const autodiff::Program& program, tensor::Backend& backend, const float* params,
             SumLayout sums, std::uint64_t seed);

  /// gradients and sink: null for evaluation. Returns the leaf's sums, valid until the next run.
  std::span<const double> run(const data::LeafBatch& batch, std::uint64_t epoch, float* gradients,
                              autodiff::GradientSink* sink);
  /// Output "prediction" of the last run.
  [[nodiscard]] tensor::View prediction() const { return executor_.output("prediction"); }

 private:
  void add_up(const data::LeafBatch& batch);

  autodiff::Executor executor_;
  SumLayout layout_;
  std::uint64_t seed_;
  bool has_loss_;
  std::vector<double> sums_;
};

}  // namespace dlt::train

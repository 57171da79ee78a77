// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "optim/loss_scaler.h"
#include "tensor/tensor.h"
#include "train/numerics_options.h"

namespace dlt::train {

/// Why a step does not count, or should not have.
enum class Trouble : std::uint8_t { none, nonfinite, spike, listed };
[[nodiscard]] std::string_view name(Trouble trouble);

/// Running mean and variance of the loss over about `window` steps, weighted exponentially
/// (of the first steps the plain ones). Fed with numbers that all ranks share, so that all
/// decide alike.
struct LossTracker {
  double mean = 0, variance = 0;
  std::int64_t observed = 0;  // steps

  /// Standard deviations above the mean, of at least a thousandth of it; 0 until `window` steps
  /// were seen.
  [[nodiscard]] double zscore(const NumericsOptions& options, double loss) const;
  /// A loss above the limit counts as one at the limit: a spike moves the mean little, and a level
  /// that lasts becomes the new mean.
  void observe(const NumericsOptions& options, double loss);
};

/// What the handling of bad numbers must know to decide alike after a restart. Part of a
/// checkpoint, where it is not empty.
class NumericsState {
 public:
  LossTracker tracker;
  std::int64_t rollbacks = 0;  // so far
  optim::LossScaler scaler;    // with train.precision: fp16

  /// Such a step (steps done before it) reads no data and makes no update.
  void skip(std::int64_t step);
  [[nodiscard]] const std::vector<std::int64_t>& skipped() const { return skipped_; }  // ascending

  /// Tensors of a checkpoint that are of this kind.
  [[nodiscard]] static std::size_t count(const tensor::StateDict& optimizer);
  /// "numerics.tracker", f64 [4], "numerics.loss_scale", f64 [2], and "numerics.skipped", i64 [n].
  void save(tensor::StateDict& to) const;
  /// errors  Error(Exit::data) naming the tensor that does not fit
  void load(const tensor::StateDict& from);

 private:
  void load_scale(const tensor::StateDict& from);
  std::vector<std::int64_t> skipped_;
};

}  // namespace dlt::train

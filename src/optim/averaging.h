// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tensor/backend.h"
#include "tensor/flat_layout.h"

namespace dlt::config {
class MapReader;
}

namespace dlt::optim {

enum class AverageKind : std::uint8_t { none, ema, swa };

/// A running average of the weights, in a flat buffer beside them. With n the number of updates
/// before this one:
///   ema   average += (1 − decay)·(p − average), the first update copies p
///   swa   average += (p − average) / (n + 1)
/// Which steps update it, and with which weight, are pure functions of the step.
/// source  Polyak & Juditsky 1992; Izmailov et al. 2018, arXiv:1803.05407; both as PyTorch's
///         torch.optim.swa_utils.AveragedModel has them
struct Averaging {
  AverageKind kind = AverageKind::none;
  double decay = 0.999;                          // ema
  std::int64_t every_steps = 1;                  // between updates
  std::int64_t start_step = 0;                   // steps done before the first that may count
  std::optional<std::int64_t> start_epoch = {};  // instead of start_step, see resolved()
  bool use_for_eval = true;

  [[nodiscard]] bool active() const { return kind != AverageKind::none; }
  [[nodiscard]] bool evaluates() const { return active() && use_for_eval; }
  /// The prefix of its tensors in a checkpoint.
  [[nodiscard]] std::string name() const { return kind == AverageKind::swa ? "swa" : "ema"; }
  [[nodiscard]] Averaging resolved(std::int64_t steps_per_epoch) const;
  /// Updates made once this many steps are done.
  [[nodiscard]] std::int64_t updates_after(std::int64_t steps_done) const;
  /// Weight of the parameters in the update that follows this step (counted from 0): 0 is none, 1 a
  /// copy.
  [[nodiscard]] double weight_at(std::int64_t step) const;
};

/// Reads `train.ema` {decay 0.999, update_every 1, start_step 0, use_for_eval true} and `train.swa`
/// {start_step or start_epoch, every_steps 1, use_for_eval true}; both together are a mistake.
[[nodiscard]] Averaging read_averaging(config::MapReader& train);

/// average += weight·(params − average) over ranges.
class AverageKernel {
 public:
  explicit AverageKernel(const tensor::Backend& backend);
  struct Range {
    std::int64_t begin = 0, end = 0;
  };
  /// Allocates nothing; any thread. queue: of a device with memory of its own.
  void run(const float* params, float* average, Range range, double weight,
           tensor::Queue* queue = nullptr) const;

 private:
  std::unique_ptr<tensor::Kernel> kernel_;
};

}  // namespace dlt::optim

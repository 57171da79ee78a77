// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::optim {

/// Dynamic loss scaling for gradients that pass through fp16: the loss is multiplied by a power of
/// two, so that small gradients do not vanish, and the update divides by it again. Fed with numbers
/// that all ranks share, so that all have the same scale.
/// source  Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; the numbers are those of
/// PyTorch's
///         torch.amp.GradScaler
struct LossScaler {
  static constexpr double kFirst = 65536, kLeast = 1, kMost = 16777216;
  static constexpr std::int64_t kGood_steps = 2000;  // before the scale is doubled

  double scale = kFirst;
  std::int64_t good_steps = 0;  // since the scale last changed

  /// A step's gradient is finite.
  void note_good();
  /// A step's gradient is not, and the step makes no update. False if the scale cannot be blamed:
  /// it is the smallest already.
  [[nodiscard]] bool note_overflow();
  friend bool operator==(const LossScaler&, const LossScaler&) = default;
};

}  // namespace dlt::optim

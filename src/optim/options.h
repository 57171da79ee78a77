// SPDX-License-Identifier: Apache-2.0
// Options that several optimisers share.
#pragma once

#include "config/node.h"

namespace dlt::optim {

/// Decay of the mean of gradients and of that of their squares.
struct Betas {
  double first = 0.9;
  double second = 0.999;
};
/// `betas: [0.9, 0.999]`, two numbers in [0, 1).
[[nodiscard]] Betas read_betas(config::MapReader& options, Betas fallback = {});
/// `eps`, above 0.
[[nodiscard]] double read_eps(config::MapReader& options, double fallback);
[[nodiscard]] double read_learning_rate(config::MapReader& options, double fallback);
[[nodiscard]] double read_weight_decay(config::MapReader& options, double fallback = 0);
/// A number in [0, 1).
[[nodiscard]] double read_fraction(config::MapReader& options, const char* key, double fallback);

}  // namespace dlt::optim

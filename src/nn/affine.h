// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "nn/activation.h"
#include "nn/layer.h"

namespace dlt::nn {

struct AffineOptions {
  std::string prefix = {};  // of the parameters' names: "", "ffn_1."
  std::int64_t units = 0;
  bool use_bias = true;
  Init kernel_init = {};
  Init bias_init = {};
  Activation activation = {};
};

/// activation(x·weight + bias) along the last axis. The axes before it are folded into one for the
/// product, which costs nothing.
/// shapes  x [B, ..., n], weight [n, units], bias [units]; both initialisers use the fans n and
///         units
[[nodiscard]] autodiff::ValueId affine(BuildContext& context, autodiff::ValueId x,
                                       const AffineOptions& options);

/// The same with the transpose of a weight [units, n] that is there already.
[[nodiscard]] autodiff::ValueId affine_tied(BuildContext& context, autodiff::ValueId x,
                                            autodiff::ValueId weight, const AffineOptions& options);

}  // namespace dlt::nn

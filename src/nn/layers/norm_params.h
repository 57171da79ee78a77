// SPDX-License-Identifier: Apache-2.0
// Options and parameters that the normalisations share.
#pragma once

#include <string>
#include <vector>

#include "nn/layer.h"

namespace dlt::nn {

struct NormOptions {
  double eps = 1e-5;
  bool scale = true;   // a parameter gamma, else 1
  bool center = true;  // a parameter beta, else 0
};

[[nodiscard]] inline NormOptions read_norm(config::MapReader& options) {
  NormOptions norm;
  norm.eps = options.number("eps", {.min = 0, .max = 1, .min_open = true}, norm.eps);
  norm.scale = options.boolean("scale", true);
  norm.center = options.boolean("center", true);
  return norm;
}

[[nodiscard]] inline autodiff::ValueId norm_constant(BuildContext& context, std::int64_t size,
                                                     double value) {
  return context.graph.add_one("fill", {},
                               {{"shape", std::vector<std::int64_t>{size}}, {"value", value}});
}

[[nodiscard]] inline autodiff::ValueId norm_gamma(BuildContext& context, const NormOptions& norm,
                                                  std::int64_t size) {
  if (!norm.scale) return norm_constant(context, size, 1.0);
  return context.param("gamma", {size}, {.kind = InitKind::ones});
}

[[nodiscard]] inline autodiff::ValueId norm_beta(BuildContext& context, const NormOptions& norm,
                                                 std::int64_t size) {
  if (!norm.center) return norm_constant(context, size, 0.0);
  return context.param("beta", {size}, {.kind = InitKind::zeros});
}

}  // namespace dlt::nn

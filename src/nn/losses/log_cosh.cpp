// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Mean of log cosh(prediction − target) over the sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape
class LogCosh final : public Loss {
 public:
  [[nodiscard]] std::string name() const override { return "log_cosh"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "log_cosh_loss", inputs.prediction, inputs);
  }
};

}  // namespace

std::unique_ptr<Loss> make_log_cosh(config::MapReader& /*options*/) {
  return std::make_unique<LogCosh>();
}

}  // namespace dlt::nn

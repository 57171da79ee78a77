// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Mean of (prediction − target)² over the sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape
class Mse final : public Loss {
 public:
  [[nodiscard]] std::string name() const override { return "mse"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "mse_loss", inputs.prediction, inputs);
  }
};

}  // namespace

std::unique_ptr<Loss> make_mse(config::MapReader& /*options*/) { return std::make_unique<Mse>(); }

}  // namespace dlt::nn

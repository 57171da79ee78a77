// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Mean of max(0, 1 − target · prediction) over the sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape: -1 or 1; 0 stands for -1
class Hinge final : public Loss {
 public:
  [[nodiscard]] std::string name() const override { return "hinge"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "hinge_loss", inputs.prediction, inputs);
  }
};

}  // namespace

std::unique_ptr<Loss> make_hinge(config::MapReader& /*options*/) {
  return std::make_unique<Hinge>();
}

}  // namespace dlt::nn

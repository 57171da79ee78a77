// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Binary cross entropy times (alpha·t + (1 − alpha)·(1 − t))·(1 − p_t)^gamma, where
/// p_t = p·t + (1 − p)·(1 − t) and p = sigmoid(logits); a mean over the sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape, from 0 to 1
/// source  Lin et al. 2017, arXiv:1708.02002
class BinaryFocal final : public Loss {
 public:
  BinaryFocal(double alpha, double gamma) : alpha_(alpha), gamma_(gamma) {}

  [[nodiscard]] std::string name() const override { return "binary_focal"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    const autodiff::ValueId logits = before_activation(graph, inputs.prediction, "sigmoid");
    return add_value_loss(graph, "binary_focal_loss", logits, inputs,
                          {{"alpha", alpha_}, {"gamma", gamma_}});
  }

 private:
  double alpha_, gamma_;
};

}  // namespace

std::unique_ptr<Loss> make_binary_focal(config::MapReader& options) {
  const double alpha = options.number("alpha", {.min = 0, .max = 1}, 0.25);
  const double gamma = options.number("gamma", {.min = 0, .max = 100}, 2.0);
  return std::make_unique<BinaryFocal>(alpha, gamma);
}

}  // namespace dlt::nn

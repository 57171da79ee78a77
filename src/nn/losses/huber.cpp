// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Half the square of an error up to delta, delta·(|error| − delta / 2) beyond; a mean over the
/// sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape
/// source  Huber 1964, "Robust estimation of a location parameter"
class Huber final : public Loss {
 public:
  explicit Huber(double delta) : delta_(delta) {}

  [[nodiscard]] std::string name() const override { return "huber"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "huber_loss", inputs.prediction, inputs, {{"delta", delta_}});
  }

 private:
  double delta_;
};

}  // namespace

std::unique_ptr<Loss> make_huber(config::MapReader& options) {
  return std::make_unique<Huber>(
      options.number("delta", {.min = 0, .max = 1e30, .min_open = true}, 1.0));
}

}  // namespace dlt::nn

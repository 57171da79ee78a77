// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// exp(prediction) − target · prediction, the prediction being the log of a rate; with log_input
/// false, rate − target · log(rate + 1e-8). A mean over the sizes behind B.
/// shapes  prediction [B, ...], target f32 of the same shape, counts
class Poisson final : public Loss {
 public:
  explicit Poisson(bool log_input) : log_input_(log_input) {}

  [[nodiscard]] std::string name() const override { return "poisson"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "poisson_loss", inputs.prediction, inputs,
                          {{"log_input", std::int64_t{log_input_ ? 1 : 0}}});
  }

 private:
  bool log_input_;
};

}  // namespace

std::unique_ptr<Loss> make_poisson(config::MapReader& options) {
  return std::make_unique<Poisson>(options.boolean("log_input", true));
}

}  // namespace dlt::nn

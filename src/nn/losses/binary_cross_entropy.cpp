// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// −(t·log p + (1 − t)·log(1 − p)) with p = sigmoid(logits), from the logits; a mean over the sizes
/// behind B. label_smoothing s takes t to (1 − s)·t + s / 2.
/// shapes  prediction [B, ...], target f32 of the same shape, from 0 to 1
class BinaryCrossEntropy final : public Loss {
 public:
  explicit BinaryCrossEntropy(double label_smoothing) : label_smoothing_(label_smoothing) {}

  [[nodiscard]] std::string name() const override { return "binary_cross_entropy"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    const autodiff::ValueId logits = before_activation(graph, inputs.prediction, "sigmoid");
    return add_value_loss(graph, "bce_with_logits_loss", logits, inputs,
                          {{"label_smoothing", label_smoothing_}});
  }

 private:
  double label_smoothing_;
};

}  // namespace

std::unique_ptr<Loss> make_binary_cross_entropy(config::MapReader& options) {
  return std::make_unique<BinaryCrossEntropy>(
      options.number("label_smoothing", {.min = 0, .max = 1, .max_open = true}, 0.0));
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// −w·alpha·(1 − p)^gamma·log p, p the label's probability by softmax and w its class weight; a
/// mean over a sample's labels that count. shapes  prediction [B, ..., classes], target i32 [B,
/// ...] source  Lin et al. 2017, arXiv:1708.02002
class Focal final : public Loss {
 public:
  Focal(LabelOptions labels, double alpha, double gamma)
      : labels_(std::move(labels)), alpha_(alpha), gamma_(gamma) {}

  [[nodiscard]] std::string name() const override { return "focal"; }
  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const override {
    return labels_.target(prediction);
  }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    const tensor::Shape output = graph.shape(inputs.prediction).without_front();
    labels_.check("focal", output);
    const autodiff::ValueId logits = before_activation(graph, inputs.prediction, "softmax");
    return graph.add_one("focal_loss", {logits, labels_.masked(graph, inputs)},
                         labels_.attrs(output, {{"alpha", alpha_}, {"gamma", gamma_}}));
  }

 private:
  LabelOptions labels_;
  double alpha_, gamma_;
};

}  // namespace

std::unique_ptr<Loss> make_focal(config::MapReader& options) {
  LabelOptions labels;
  labels.read_ignore_index(options);
  labels.read_class_weights(options);
  const double alpha = options.number("alpha", {.min = 0, .max = 1e30}, 0.25);
  const double gamma = options.number("gamma", {.min = 0, .max = 100}, 2.0);
  return std::make_unique<Focal>(std::move(labels), alpha, gamma);
}

}  // namespace dlt::nn

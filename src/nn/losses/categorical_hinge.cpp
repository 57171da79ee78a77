// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// max(0, 1 + largest other − the label's prediction), the largest other being at least 0, as in
/// Keras; a mean over a sample's labels that count.
/// shapes  prediction [B, ..., classes], target i32 [B, ...]
class CategoricalHinge final : public Loss {
 public:
  explicit CategoricalHinge(LabelOptions labels) : labels_(std::move(labels)) {}

  [[nodiscard]] std::string name() const override { return "categorical_hinge"; }
  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const override {
    return labels_.target(prediction);
  }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    const tensor::Shape output = graph.shape(inputs.prediction).without_front();
    labels_.check("categorical_hinge", output);
    return graph.add_one("categorical_hinge_loss",
                         {inputs.prediction, labels_.masked(graph, inputs)},
                         labels_.attrs(output, {}));
  }

 private:
  LabelOptions labels_;
};

}  // namespace

std::unique_ptr<Loss> make_categorical_hinge(config::MapReader& options) {
  LabelOptions labels;
  labels.read_ignore_index(options);
  return std::make_unique<CategoricalHinge>(std::move(labels));
}

}  // namespace dlt::nn

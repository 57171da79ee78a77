// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Minus the cosine of prediction and target along the last axis; a mean over the other positions.
/// shapes  prediction [B, ..., n], target f32 of the same shape
class CosineSimilarity final : public Loss {
 public:
  [[nodiscard]] std::string name() const override { return "cosine_similarity"; }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    return add_value_loss(graph, "cosine_similarity_loss", inputs.prediction, inputs);
  }
};

}  // namespace

std::unique_ptr<Loss> make_cosine_similarity(config::MapReader& /*options*/) {
  return std::make_unique<CosineSimilarity>();
}

}  // namespace dlt::nn

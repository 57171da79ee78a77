// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

using autodiff::Graph;
using autodiff::ValueId;

enum class From : std::uint8_t { logits, log_probabilities, probabilities };

/// Σ t·(log t − log p) along the last axis; a mean over the other positions. p is softmax of the
/// prediction (from: logits, or a model that ends in softmax), its exponential
/// (log_probabilities), or the prediction plus 1e-7 (probabilities).
/// shapes  prediction [B, ..., n], target f32 of the same shape: probabilities
class KlDivergence final : public Loss {
 public:
  explicit KlDivergence(From from) : from_(from) {}

  [[nodiscard]] std::string name() const override { return "kl_divergence"; }

  [[nodiscard]] ValueId build(Graph& graph, const LossInputs& inputs) const override {
    return add_value_loss(graph, "kl_loss", log_probabilities(graph, inputs.prediction), inputs);
  }

 private:
  [[nodiscard]] ValueId log_probabilities(Graph& graph, ValueId prediction) const {
    const ValueId logits = before_activation(graph, prediction, "softmax");
    const bool softmax = logits != prediction;
    if (from_ == From::logits || (from_ == From::probabilities && softmax)) {
      return graph.add_one("log_softmax", {logits});
    }
    if (from_ == From::log_probabilities) return prediction;
    const ValueId above_zero = graph.add_one("scale", {prediction}, {{"offset", 1e-7}});
    return graph.add_one("log", {above_zero});
  }

  From from_;
};

}  // namespace

std::unique_ptr<Loss> make_kl_divergence(config::MapReader& options) {
  const std::string from = options.choice("from", {"logits", "log_probabilities", "probabilities"},
                                          std::string("logits"));
  return std::make_unique<KlDivergence>(from == "probabilities"       ? From::probabilities
                                        : from == "log_probabilities" ? From::log_probabilities
                                                                      : From::logits);
}

}  // namespace dlt::nn

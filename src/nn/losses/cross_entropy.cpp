// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// −Σ q·log softmax(logits), q = w·((1 − s)·one_hot(label) + s / classes), s = label_smoothing and
/// w the class weights; a mean over a sample's labels that count. shapes  prediction [B, ...,
/// classes], target i32 [B, ...], or f32 of the prediction's shape source  Szegedy et al. 2016,
/// arXiv:1512.00567, section 7, for the smoothing
class CrossEntropy final : public Loss {
 public:
  CrossEntropy(LabelOptions labels, double label_smoothing)
      : labels_(std::move(labels)), label_smoothing_(label_smoothing) {}

  [[nodiscard]] std::string name() const override { return "cross_entropy"; }
  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const override {
    return labels_.target(prediction);
  }
  [[nodiscard]] bool takes_distributions() const override { return true; }
  [[nodiscard]] bool is_log_likelihood() const override {
    return label_smoothing_ == 0 && labels_.class_weights.empty();
  }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    const tensor::Shape output = graph.shape(inputs.prediction).without_front();
    labels_.check("cross_entropy", output);
    const autodiff::ValueId logits = before_activation(graph, inputs.prediction, "softmax");
    const autodiff::ValueId log_probabilities = graph.add_one("log_softmax", {logits});
    return graph.add_one("nll", {log_probabilities, labels_.masked(graph, inputs)},
                         labels_.attrs(output, {{"label_smoothing", label_smoothing_}}));
  }

 private:
  LabelOptions labels_;
  double label_smoothing_;
};

}  // namespace

std::unique_ptr<Loss> make_cross_entropy(config::MapReader& options) {
  LabelOptions labels;
  labels.read_ignore_index(options);
  labels.read_class_weights(options);
  const double smoothing =
      options.number("label_smoothing", {.min = 0, .max = 1, .max_open = true}, 0.0);
  return std::make_unique<CrossEntropy>(std::move(labels), smoothing);
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/text.h"
#include "nn/losses/final_logits.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// −Σ q·log softmax(logits), q = (1 − s)·one_hot(label) + s / classes, s = label_smoothing.
/// shapes  prediction [B, classes], target i32 [B]
/// source  Szegedy et al. 2016, arXiv:1512.00567, section 7, for the smoothing
class CrossEntropy final : public Loss {
 public:
  explicit CrossEntropy(double label_smoothing) : label_smoothing_(label_smoothing) {}

  [[nodiscard]] std::string name() const override { return "cross_entropy"; }
  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const override {
    if (prediction.rank() == 0) return {.dtype = DType::i32, .shape = {}, .num_classes = 1};
    return {.dtype = DType::i32,
            .shape = tensor::Shape(prediction.dims().first(prediction.dims().size() - 1)),
            .num_classes = prediction.last()};
  }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph, autodiff::ValueId prediction,
                                        autodiff::ValueId target) const override {
    const tensor::Shape output = graph.shape(prediction).without_front();
    if (output.rank() != 1) {
      throw Error(Exit::config,
                  cat("cross_entropy expects a model output of [classes], got ", output.text()),
                  "end the model with {dense: {units: CLASSES}}");
    }
    if (output[0] < 2) {
      throw Error(Exit::config,
                  "cross_entropy expects a model output of 2 or more classes, got [1]",
                  "for one yes-or-no output use binary_cross_entropy");
    }
    const autodiff::ValueId logits = before_activation(graph, prediction, "softmax");
    const autodiff::ValueId log_probabilities = graph.add_one("log_softmax", {logits});
    return graph.add_one("nll", {log_probabilities, target},
                         {{"label_smoothing", label_smoothing_}});
  }

 private:
  double label_smoothing_;
};

}  // namespace

std::unique_ptr<Loss> make_cross_entropy(config::MapReader& options) {
  return std::make_unique<CrossEntropy>(
      options.number("label_smoothing", {.min = 0, .max = 1, .max_open = true}, 0.0));
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/text.h"
#include "nn/losses/parts.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

struct CtcOptions {
  std::int64_t blank = 0;
  std::int64_t max_label_length = 0;  // 0: as many as there are steps
  bool per_label = true;
  bool zero_infinity = false;
};

/// −log of the probability that softmax(logits) spells the labels, over all alignments; divided by
/// the number of labels if per_label, as PyTorch's mean does. Padding steps (mask) take no part.
/// shapes  prediction [B, T, classes], target i32 [B, max_label_length], ended by -1
/// source  Graves et al. 2006, "Connectionist temporal classification"
class Ctc final : public Loss {
 public:
  explicit Ctc(const CtcOptions& options) : options_(options) {}

  [[nodiscard]] std::string name() const override { return "ctc"; }

  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const override {
    check(prediction);
    const std::int64_t length =
        options_.max_label_length > 0 ? options_.max_label_length : prediction[0];
    return {.dtype = DType::i32,
            .shape = {length},
            .num_classes = prediction[1],
            .allows_ignored = true,
            .ignored = -1,
            .blank = options_.blank};
  }

  [[nodiscard]] autodiff::ValueId build(autodiff::Graph& graph,
                                        const LossInputs& inputs) const override {
    check(graph.shape(inputs.prediction).without_front());
    const autodiff::ValueId logits = before_activation(graph, inputs.prediction, "softmax");
    std::vector<autodiff::ValueId> operands{graph.add_one("log_softmax", {logits}), inputs.target};
    if (inputs.mask.valid()) operands.push_back(inputs.mask);
    return graph.add_one("ctc_loss", operands,
                         {{"blank", options_.blank},
                          {"per_label", std::int64_t{options_.per_label ? 1 : 0}},
                          {"zero_infinity", std::int64_t{options_.zero_infinity ? 1 : 0}}});
  }

 private:
  void check(const tensor::Shape& prediction) const {
    if (prediction.rank() != 2) {
      throw Error(Exit::config,
                  cat("ctc expects a model output of [steps, classes], got ", prediction.text()),
                  "end the model with {dense: {units: CLASSES}} behind a layer of sequences");
    }
    if (options_.blank >= prediction[1]) {
      throw Error(Exit::config, cat("ctc expects blank to be one of the ", prediction[1],
                                    " classes, got ", options_.blank));
    }
  }

  CtcOptions options_;
};

}  // namespace

std::unique_ptr<Loss> make_ctc(config::MapReader& options) {
  CtcOptions out;
  out.blank = options.integer("blank", {.min = 0, .max = INT32_MAX}, 0);
  if (options.has("max_label_length")) {
    out.max_label_length = options.integer("max_label_length", {.min = 1, .max = 1 << 20});
  } else {
    (void)options.child("max_label_length");  // legal, though absent
  }
  out.per_label = options.boolean("per_label", true);
  out.zero_infinity = options.boolean("zero_infinity", false);
  return std::make_unique<Ctc>(out);
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "config/node.h"
#include "tensor/shape.h"

namespace dlt::nn {

/// What a loss wants of one sample's target: class labels (i32, from 0 to below num_classes; -1
/// where allows_ignored: this position does not count) or numbers (f32).
struct TargetSpec {
  DType dtype = DType::f32;
  tensor::Shape shape;
  std::int64_t num_classes = 0;
  bool allows_ignored = false;
  std::optional<std::int64_t> ignored = {};  // the label that does not count: -1 or a class
  std::optional<std::int64_t> blank = {};    // ctc: the class that stands for no label
  [[nodiscard]] bool labels() const { return dtype == DType::i32; }
};

/// Values of a graph that a loss is made of.
struct LossInputs {
  autodiff::ValueId prediction, target;
  /// [B, T] for predictions [B, T, ...]: 1 for positions that count, 0 for padding; invalid: all
  /// count. A sample's loss is the mean over the positions that do.
  autodiff::ValueId mask = {};
};

/// A loss: from predictions [B, ...] and targets to one loss a sample [B].
/// cross_entropy and binary_cross_entropy take logits; if the model already ends in softmax
/// (sigmoid) the graph's fusion undoes it, so both spellings give the same, stable arithmetic.
class Loss {
 public:
  virtual ~Loss() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// The target of one sample for a prediction of this shape (one sample, too). The usual: numbers
  /// of the prediction's shape. errors  Error(Exit::config) if no target fits
  [[nodiscard]] virtual TargetSpec target(const tensor::Shape& prediction) const;
  [[nodiscard]] virtual autodiff::ValueId build(autodiff::Graph& graph,
                                                const LossInputs& inputs) const = 0;
  /// Whether a sample's loss is the mean of -log(probability of the label), nothing else.
  [[nodiscard]] virtual bool is_log_likelihood() const { return false; }
  /// Whether build() also takes labels as distributions, f32 of the prediction's shape.
  [[nodiscard]] virtual bool takes_distributions() const { return false; }
};

struct LossDef {
  const char* name;
  std::unique_ptr<Loss> (*make)(config::MapReader& options);
};
[[nodiscard]] const std::vector<LossDef>& loss_defs();

[[nodiscard]] std::vector<std::string> loss_names();

/// Reads `loss:`, a word or a map of one name to its options ({cross_entropy: {label_smoothing:
/// 0.1}}, {huber: {delta: 1.0}}) or {name: huber, delta: 1.0}. Null after recording mistakes.
[[nodiscard]] std::unique_ptr<Loss> read_loss(const config::Node* node, const config::Mark& parent,
                                              config::Diagnostics& diagnostics);

}  // namespace dlt::nn

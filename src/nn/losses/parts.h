// SPDX-License-Identifier: Apache-2.0
// What several losses share: where logits are, masks of positions, options of class labels.
#pragma once

#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "config/node.h"
#include "nn/loss.h"

namespace dlt::nn {

/// The input of the activation that made x, if that activation is the named one; else x itself.
/// A loss on logits then sees them whether or not the model ends in softmax or sigmoid, and the
/// activation stays in the graph for those who read the prediction.
[[nodiscard]] autodiff::ValueId before_activation(const autodiff::Graph& graph, autodiff::ValueId x,
                                                  std::string_view activation);

/// Adds an op of predictions and values [B, ...] that gives a mean a sample [B]; with a mask the
/// mean over the positions that count. prediction stands for inputs.prediction (its logits).
[[nodiscard]] autodiff::ValueId add_value_loss(autodiff::Graph& graph, std::string_view op,
                                               autodiff::ValueId prediction,
                                               const LossInputs& inputs,
                                               const tensor::Attrs& attrs = {});

/// Options of losses of class labels.
struct LabelOptions {
  /// The label that does not count: -1 by default where a sample has several labels. A class from 0
  /// on may be given (padding tokens), or -1 for samples of one label.
  std::int64_t ignore_index = -1;
  bool ignore_given = false;
  std::vector<double> class_weights = {};  // one for each class, or none

  /// ignore_index, and class_weights if the loss has them.
  void read_ignore_index(config::MapReader& options);
  void read_class_weights(config::MapReader& options);
  /// Labels [...] of predictions [..., classes].
  [[nodiscard]] TargetSpec target(const tensor::Shape& prediction) const;
  /// errors  Error(Exit::config) unless predictions are [..., classes] of 2 classes or more, each
  /// with a weight, and ignore_index one of them
  void check(std::string_view loss, const tensor::Shape& prediction) const;
  /// attrs with ignore_index and class_weights, for predictions of one sample's shape.
  [[nodiscard]] tensor::Attrs attrs(const tensor::Shape& prediction, tensor::Attrs base) const;
  /// The labels, those at padding positions replaced by ignore_index.
  [[nodiscard]] autodiff::ValueId masked(autodiff::Graph& graph, const LossInputs& inputs) const;

 private:
  [[nodiscard]] bool ignores(const tensor::Shape& prediction) const;
};

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "autodiff/graph.h"

namespace dlt::nn {

/// The input of the activation that made x, if that activation is the named one; else x itself.
/// A loss on logits then sees them whether or not the model ends in softmax or sigmoid, and the
/// activation stays in the graph for those who read the prediction.
[[nodiscard]] inline autodiff::ValueId before_activation(const autodiff::Graph& graph,
                                                         autodiff::ValueId x,
                                                         std::string_view activation) {
  const std::int32_t producer = graph.value(x).producer;
  if (producer < 0) return x;
  const autodiff::Node& node = graph.nodes()[static_cast<std::size_t>(producer)];
  return node.op->name == activation ? node.inputs.front() : x;
}

}  // namespace dlt::nn

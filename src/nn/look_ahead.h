// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "autodiff/graph.h"

namespace dlt::nn {

/// A node whose result at some position of a sequence depends on later ones.
struct LookAhead {
  std::string layer;   // "bidirectional_1"
  std::string reason;  // "attention sees the positions behind, too"
};

/// Follows the positions of `input` [1, T] through a graph for prediction (batch of one, before
/// Program has optimised it) to `result` [1, T, ...]. Empty: position t of the result depends on
/// positions up to t alone. An op that is not known to keep positions apart counts as looking
/// ahead.
[[nodiscard]] std::optional<LookAhead> find_look_ahead(const autodiff::Graph& graph,
                                                       autodiff::ValueId input,
                                                       autodiff::ValueId result);

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "autodiff/passes.h"

namespace dlt::autodiff {

int set_precision(Graph& graph, const std::string& precision) {
  int changed = 0;
  for (Node& node : graph.mutable_nodes()) {
    if (!node.op->product) continue;
    node.attrs.set("precision", precision);
    ++changed;
  }
  return changed;
}

}  // namespace dlt::autodiff

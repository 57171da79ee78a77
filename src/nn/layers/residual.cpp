// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/text.h"
#include "nn/activation.h"
#include "nn/layer_list.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

struct ResidualOptions {
  LayerList layers;
  LayerList shortcut;  // empty: the input itself
  Activation activation;
};

/// activation(layers(x) + shortcut(x)).
/// shapes  both sides of the sum are alike
/// source  He et al. 2016, "Deep Residual Learning for Image Recognition"
class Residual final : public Layer {
 public:
  explicit Residual(ResidualOptions options) : options_(std::move(options)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    BuildContext side = context;
    const autodiff::ValueId y = build_layers(context, options_.layers, x);
    const autodiff::ValueId past = build_layers(side, options_.shortcut, x);
    const autodiff::Graph& graph = context.graph;
    if (graph.shape(y) != graph.shape(past)) {
      throw Error(
          Exit::config,
          cat("'", context.name, "': the layers give ", graph.shape(y).without_front().text(),
              ", the ", options_.shortcut.empty() ? "input" : "shortcut", " ",
              graph.shape(past).without_front().text(), "; want the same shape to add"),
          options_.shortcut.empty() ? "give the other way layers of its own: shortcut: "
                                      "[{conv2d: {filters: N, kernel_size: 1}}]"
                                    : "");
    }
    return apply_activation(context.graph, options_.activation,
                            context.graph.add_one("add", {y, past}));
  }

 private:
  ResidualOptions options_;
};

}  // namespace

std::unique_ptr<Layer> make_residual(config::MapReader& options, LayerReader& reader) {
  ResidualOptions residual;
  residual.layers = reader.read_list(options, "layers");
  if (options.has("shortcut")) {
    residual.shortcut = reader.read_list(options, "shortcut");
  } else {
    (void)options.child("shortcut");  // legal, though absent
  }
  residual.activation = read_activation(options, "activation");
  return std::make_unique<Residual>(std::move(residual));
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "nn/activation.h"

#include "nn/layer.h"

namespace dlt::nn {

std::vector<std::string> activation_names() {
  return {"gelu", "leaky_relu", "linear",  "none",     "relu",
          "silu", "sigmoid",    "softmax", "softplus", "tanh"};
}

Activation read_activation_options(const std::string& name, config::MapReader& options) {
  Activation result{.name = name, .attrs = {}};
  if (name == "leaky_relu") {
    result.attrs.set("alpha", options.number("alpha", {.min = 0, .max = 1}, 0.01));
  } else if (name == "gelu") {
    result.attrs.set("approximate",
                     options.choice("approximate", {"none", "tanh"}, std::string("none")));
  }
  return result;
}

Activation read_activation(config::MapReader& options, const std::string& key,
                           const std::string& fallback) {
  const config::Node* node = options.child(key);
  if (node == nullptr || node->kind != config::Kind::map) {
    return {.name = options.choice(key, activation_names(), fallback), .attrs = {}};
  }
  config::MapReader reader = options.map(key);
  const std::string name = reader.choice("name", activation_names());
  Activation result = read_activation_options(name, reader);
  reader.finish();
  return result;
}

autodiff::ValueId apply_activation(autodiff::Graph& graph, const Activation& activation,
                                   autodiff::ValueId x) {
  if (activation.name == "none" || activation.name == "linear") return x;
  return graph.add_one(activation.name, {x}, activation.attrs);
}

autodiff::ValueId apply_activation(autodiff::Graph& graph, const std::string& name,
                                   autodiff::ValueId x) {
  return apply_activation(graph, Activation{.name = name, .attrs = {}}, x);
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "config/node.h"
#include "nn/layer_list.h"
#include "tensor/shape.h"

namespace dlt::nn {

/// A row of zoo.def: a well-known model by its name. `layers` reads the model's options and returns
/// its layers as YAML, a line a layer, as one could have written them in the config.
struct ZooDef {
  const char* name;
  std::string (*layers)(config::MapReader& options, const tensor::Shape& input);
};
[[nodiscard]] const std::vector<ZooDef>& zoo_defs();
[[nodiscard]] std::vector<std::string> zoo_names();

// What each line of zoo.def stands for.
#define DLT_MODEL(name) \
  std::string zoo_##name(config::MapReader& options, const tensor::Shape& input);
#include "nn/zoo.def"
#undef DLT_MODEL

/// The layers of `model: {name: resnet18, classes: 10}`. Empty after recording mistakes. The layers
/// have the place of the name in the config.
[[nodiscard]] LayerList read_zoo_layers(config::MapReader& model, const tensor::Shape& input);

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
// What a Model holds; shared by model.cpp (graphs) and model_read.cpp (the config).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/model.h"

namespace dlt::nn {

struct NamedLayer {
  std::string name;  // "dense_1"
  std::string type;  // "dense"
  std::unique_ptr<Layer> layer;
  config::Mark mark;  // where the config says it
  std::string key;    // "model.layers.2"
};

struct Model::Impl {
  tensor::Shape input;
  tensor::Shape output;
  std::vector<NamedLayer> layers;
  std::vector<LayerRow> rows;
  std::vector<ParamSpec> params;
  std::string final_activation;

  /// Builds the model once for one sample: fills rows, params, output and final_activation. False
  /// after recording the first shape mistake (what follows it has no shape to check).
  [[nodiscard]] bool infer(const autodiff::OpTable& ops, config::Diagnostics& diagnostics);
  /// Declares the input and appends every layer; output "prediction".
  [[nodiscard]] Built forward(autodiff::Graph& graph, std::int64_t batch, Mode mode) const;
  /// Builds layer i behind x in its own scope. errors  Error(Exit::config) from shapes
  [[nodiscard]] autodiff::ValueId build_layer(std::size_t i, autodiff::Graph& graph, Mode mode,
                                              std::vector<ParamSpec>& specs,
                                              autodiff::ValueId x) const;
};

}  // namespace dlt::nn

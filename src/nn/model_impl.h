// SPDX-License-Identifier: Apache-2.0
// What a Model holds; shared by model.cpp (graphs) and model_read.cpp (the config).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/layer_list.h"
#include "nn/model.h"

namespace dlt::nn {

struct Model::Impl {
  tensor::Shape input;
  tensor::Shape output;
  LayerList layers;
  BuildRecord record;  // of a graph for prediction
  std::string final_activation;

  [[nodiscard]] std::int64_t num_tokens() const;
  /// Builds the model once for one sample: fills record, output and final_activation. False after
  /// recording the first shape mistake (what follows it has no shape to check).
  [[nodiscard]] bool infer(const autodiff::OpTable& ops, config::Diagnostics& diagnostics);
  /// Declares the input (and, in training, "weight") and appends every layer; output "prediction".
  [[nodiscard]] Built forward(autodiff::Graph& graph, std::int64_t batch, Mode mode,
                              BuildRecord& into) const;
};

}  // namespace dlt::nn

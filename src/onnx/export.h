// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "autodiff/graph.h"
#include "tensor/tensor.h"

namespace dlt::onnx {

/// A model's graph for prediction, built for two and for three samples: a size that differs between
/// them is the number of samples, which is left open in the file.
struct PredictionGraphs {
  const autodiff::Graph& two;
  const autodiff::Graph& three;
};

struct ModelLabels {
  std::string name, producer_version;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// The bytes of an .onnx file (operator set 17) that computes output "prediction" from "input", as
/// the graph does: images are channels last there, too. Products are f32, whatever precision says.
/// errors  Error(Exit::config) naming the layer and the op that ONNX has no equivalent of;
///         Error(Exit::data) if a parameter is missing or of another shape
[[nodiscard]] std::string export_model(const PredictionGraphs& graphs,
                                       const tensor::StateDict& params, const ModelLabels& labels);

}  // namespace dlt::onnx

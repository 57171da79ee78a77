// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/node.h"
#include "nn/layer.h"
#include "nn/loss.h"

namespace dlt::nn {

/// How labels come: as the loss wants them, or as distributions, f32 of the prediction's shape
/// (mixed samples; of losses that take them).
enum class TargetForm : std::uint8_t { plain, distributions };

/// Values of a built graph. Graph inputs are named "input", "target", "weight"; outputs
/// "prediction", "loss", and "mask" where the loss has one.
struct Built {
  autodiff::ValueId input, prediction;
  autodiff::ValueId target, weight, loss;  // invalid in graphs for prediction
  autodiff::ValueId mask;                  // of the prediction's positions; invalid: all are real
};

/// A model: input shape and a list of layers, from `model: {input: [...], layers: [...]}`. A layer
/// is a word (`flatten`) or a map of its type to its options (`dense: {units: 64}`), and may carry
/// `name:` among its options; unnamed ones are called TYPE_K, K counting the layers of that type
/// from 1, named ones included (so naming a layer renames no other and leaves their start alone).
/// limits  4096 layers, 7 input sizes, 2^31 input elements, 2^34 elements in a parameter, 2^40 in
/// all
class Model {
 public:
  /// Reads and checks all of it, shapes included (a shape mistake is recorded at its layer's place,
  /// naming this layer and the one before with their shapes). Null after recording mistakes. ops is
  /// used during the call only.
  static std::unique_ptr<Model> read(const config::Node* node, const config::Mark& parent,
                                     config::Diagnostics& diagnostics,
                                     const autodiff::OpTable& ops);
  ~Model();

  [[nodiscard]] const tensor::Shape& input_shape() const;
  [[nodiscard]] const tensor::Shape& output_shape() const;
  [[nodiscard]] const std::vector<LayerRow>& rows() const;
  [[nodiscard]] const std::vector<ParamSpec>& params() const;
  [[nodiscard]] const std::vector<RunningStatistics>& running_statistics() const;
  /// States that training carries from step to step.
  [[nodiscard]] const std::vector<CarriedSpec>& carried() const;
  /// The vocabulary of a model that takes token ids (its input is i32), else 0.
  [[nodiscard]] std::int64_t num_tokens() const;
  /// The name of the last activation if the model ends in one ("softmax", "sigmoid", ...), else "".
  [[nodiscard]] std::string final_activation() const;

  /// Forward pass alone: output "prediction".
  Built build_prediction(autodiff::Graph& graph, std::int64_t batch) const;
  /// Forward pass and loss; outputs "prediction" and "loss" ([batch]). Loss fusion passes have run.
  Built build_evaluation(autodiff::Graph& graph, std::int64_t batch, const Loss& loss) const;
  /// The same in training mode (dropout on), fused, with the backward pass seeded by "weight"
  /// [batch]. Parameters that take no part in the loss get a gradient of zeros.
  Built build_training(autodiff::Graph& graph, std::int64_t batch, const Loss& loss,
                       TargetForm form = TargetForm::plain) const;

 private:
  Model();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "nn/losses/parts.h"

#include <string>

#include "base/error.h"
#include "base/text.h"

namespace dlt::nn {

using autodiff::Graph;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::Shape;

namespace {

ValueId reshape(Graph& graph, ValueId x, const std::vector<std::int64_t>& shape) {
  return graph.add_one("reshape", {x}, {{"shape", shape}});
}

/// Whether the mask is one of the prediction's positions.
bool mask_fits(const Graph& graph, const LossInputs& inputs) {
  if (!inputs.mask.valid()) return false;
  const Shape &x = graph.shape(inputs.prediction), &mask = graph.shape(inputs.mask);
  return x.rank() >= 2 && mask.rank() == 2 && x[1] == mask[1];
}

}  // namespace

ValueId before_activation(const Graph& graph, ValueId x, std::string_view activation) {
  const std::int32_t producer = graph.value(x).producer;
  if (producer < 0) return x;
  const autodiff::Node& node = graph.nodes()[static_cast<std::size_t>(producer)];
  return node.op->name == activation ? node.inputs.front() : x;
}

ValueId add_value_loss(Graph& graph, std::string_view op, ValueId prediction,
                       const LossInputs& inputs, const Attrs& attrs) {
  if (!mask_fits(graph, inputs)) return graph.add_one(op, {prediction, inputs.target}, attrs);
  const Shape shape = graph.shape(prediction);
  std::vector<std::int64_t> rows{shape[0] * shape[1]};
  for (int i = 2; i < shape.rank(); ++i) rows.push_back(shape[i]);
  const ValueId loss = graph.add_one(
      op, {reshape(graph, prediction, rows), reshape(graph, inputs.target, rows)}, attrs);
  return graph.add_one("masked_mean", {reshape(graph, loss, {shape[0], shape[1]}), inputs.mask});
}

void LabelOptions::read_ignore_index(config::MapReader& options) {
  ignore_given = options.has("ignore_index");
  ignore_index = options.integer("ignore_index", {.min = -1, .max = INT32_MAX}, -1);
}

void LabelOptions::read_class_weights(config::MapReader& options) {
  class_weights = options.numbers("class_weights", {.min = 0, .max = 1e30}, std::vector<double>{});
}

bool LabelOptions::ignores(const Shape& prediction) const {
  return ignore_given || prediction.rank() > 1;
}

TargetSpec LabelOptions::target(const Shape& prediction) const {
  if (prediction.rank() == 0) return {.dtype = DType::i32, .shape = {}, .num_classes = 1};
  return {.dtype = DType::i32,
          .shape = Shape(prediction.dims().first(prediction.dims().size() - 1)),
          .num_classes = prediction.last(),
          .allows_ignored = ignores(prediction) && ignore_index == -1,
          .ignored = ignores(prediction) ? std::optional(ignore_index) : std::nullopt};
}

void LabelOptions::check(std::string_view loss, const Shape& prediction) const {
  if (prediction.rank() < 1) {
    throw Error(Exit::config,
                cat(loss, " expects a model output of [..., classes], got ", prediction.text()),
                "end the model with {dense: {units: CLASSES}}");
  }
  const std::int64_t classes = prediction.last();
  if (classes < 2) {
    throw Error(Exit::config,
                cat(loss, " expects a model output of 2 or more classes, got ", prediction.text()),
                "for one yes-or-no output use binary_cross_entropy");
  }
  if (!class_weights.empty() && static_cast<std::int64_t>(class_weights.size()) != classes) {
    throw Error(Exit::config, cat(loss, " expects a weight for each of the ", classes,
                                  " classes in class_weights, got ", class_weights.size()));
  }
  if (ignore_index >= classes) {
    throw Error(Exit::config, cat(loss, " expects ignore_index to be -1 or one of the ", classes,
                                  " classes, got ", ignore_index));
  }
}

Attrs LabelOptions::attrs(const Shape& prediction, Attrs base) const {
  if (ignores(prediction)) base.set("ignore_index", ignore_index);
  if (!class_weights.empty()) base.set("class_weights", class_weights);
  return base;
}

ValueId LabelOptions::masked(Graph& graph, const LossInputs& inputs) const {
  const Shape labels = graph.shape(inputs.target);
  if (!mask_fits(graph, inputs) || graph.value(inputs.target).type.dtype != DType::i32) {
    return inputs.target;
  }
  if (labels != graph.shape(inputs.mask)) return inputs.target;
  return graph.add_one("mask_labels", {inputs.target, inputs.mask}, {{"label", ignore_index}});
}

}  // namespace dlt::nn

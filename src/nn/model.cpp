// SPDX-License-Identifier: Apache-2.0
#include "nn/model.h"

#include "autodiff/backward.h"
#include "autodiff/passes.h"
#include "base/error.h"
#include "nn/model_impl.h"

namespace dlt::nn {
namespace {

using autodiff::Graph;
using autodiff::ValueId;

/// Declares "target" and appends the loss; output "loss".
void add_loss(Graph& graph, std::int64_t batch, const Loss& loss, Built& built) {
  const tensor::TensorType labels{tensor::Shape{batch}, DType::i32};
  const tensor::TensorType values{graph.shape(built.prediction), DType::f32};
  built.target = graph.input("target", loss.takes_labels() ? labels : values);
  graph.set_scope("loss");
  built.loss = loss.build(graph, built.prediction, built.target);
  graph.set_scope("");
  graph.output("loss", built.loss);
}

ValueId find_input(const Graph& graph, const std::string& name) {
  for (const ValueId id : graph.inputs()) {
    if (graph.value(id).name == name) return id;
  }
  return {};
}

/// Passes may give values new ids; names stay.
void fuse(Graph& graph, Built& built) {
  autodiff::fuse_losses(graph);
  autodiff::fuse_bias_activation(graph);
  built.input = find_input(graph, "input");
  built.target = find_input(graph, "target");
  built.prediction = graph.outputs().at("prediction");
  const auto loss = graph.outputs().find("loss");
  if (loss != graph.outputs().end()) built.loss = loss->second;
}

}  // namespace

ValueId Model::Impl::build_layer(std::size_t i, Graph& graph, Mode mode,
                                 std::vector<ParamSpec>& specs, ValueId x) const {
  const NamedLayer& layer = layers[i];
  BuildContext context{.graph = graph,
                       .mode = mode,
                       .name = layer.name,
                       .params = specs,
                       .previous = i == 0 ? std::string() : layers[i - 1].name};
  graph.set_scope(layer.name);
  const ValueId y = layer.layer->build(context, x);
  graph.set_scope("");
  return y;
}

Built Model::Impl::forward(Graph& graph, std::int64_t batch, Mode mode) const {
  DLT_CHECK(batch >= 1, "a graph needs at least one sample");
  Built built;
  built.input = graph.input("input", {input.with_front(batch), DType::f32});
  std::vector<ParamSpec> specs;
  ValueId x = built.input;
  for (std::size_t i = 0; i < layers.size(); ++i) x = build_layer(i, graph, mode, specs, x);
  built.prediction = x;
  graph.output("prediction", x);
  return built;
}

Model::Model() : impl_(std::make_unique<Impl>()) {}
Model::~Model() = default;

const tensor::Shape& Model::input_shape() const { return impl_->input; }
const tensor::Shape& Model::output_shape() const { return impl_->output; }
const std::vector<LayerRow>& Model::rows() const { return impl_->rows; }
const std::vector<ParamSpec>& Model::params() const { return impl_->params; }
std::string Model::final_activation() const { return impl_->final_activation; }

Built Model::build_prediction(Graph& graph, std::int64_t batch) const {
  Built built = impl_->forward(graph, batch, Mode::inference);
  fuse(graph, built);
  return built;
}

Built Model::build_evaluation(Graph& graph, std::int64_t batch, const Loss& loss) const {
  Built built = impl_->forward(graph, batch, Mode::inference);
  add_loss(graph, batch, loss, built);
  fuse(graph, built);
  return built;
}

Built Model::build_training(Graph& graph, std::int64_t batch, const Loss& loss) const {
  Built built = impl_->forward(graph, batch, Mode::training);
  add_loss(graph, batch, loss, built);
  fuse(graph, built);
  built.weight = graph.input("weight", {tensor::Shape{batch}, DType::f32});
  autodiff::append_backward(graph, built.loss, built.weight);
  return built;
}

}  // namespace dlt::nn

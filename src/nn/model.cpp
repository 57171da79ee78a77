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
void add_loss(Graph& graph, const Loss& loss, TargetForm form, Built& built) {
  const tensor::Shape prediction = graph.shape(built.prediction);
  const TargetSpec target = loss.target(prediction.without_front());
  const bool distributions = form == TargetForm::distributions && target.labels();
  DLT_CHECK(!distributions || loss.takes_distributions(), loss.name());
  built.target = graph.input(
      "target", distributions
                    ? tensor::TensorType{prediction, DType::f32}
                    : tensor::TensorType{target.shape.with_front(prediction[0]), target.dtype});
  graph.set_scope("loss");
  built.loss = loss.build(graph, {built.prediction, built.target, built.mask});
  graph.set_scope("");
  graph.output("loss", built.loss);
  if (built.mask.valid()) graph.output("mask", built.mask);
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
  autodiff::fuse_norm_activation(graph);
  built.input = find_input(graph, "input");
  built.weight = find_input(graph, "weight");
  built.target = find_input(graph, "target");
  built.prediction = graph.outputs().at("prediction");
  const auto loss = graph.outputs().find("loss");
  if (loss != graph.outputs().end()) built.loss = loss->second;
}

}  // namespace

std::int64_t Model::Impl::num_tokens() const {
  return layers.empty() ? 0 : layers.front().layer->num_tokens();
}

Built Model::Impl::forward(Graph& graph, std::int64_t batch, Mode mode, BuildRecord& into) const {
  DLT_CHECK(batch >= 1, "a graph needs at least one sample");
  Built built;
  built.input =
      graph.input("input", {input.with_front(batch), num_tokens() > 0 ? DType::i32 : DType::f32});
  if (mode == Mode::training) {
    built.weight = graph.input("weight", {tensor::Shape{batch}, DType::f32});
  }
  BuildContext context{.graph = graph,
                       .mode = mode,
                       .name = "",
                       .record = into,
                       .params = into.params,
                       .weight = built.weight};
  built.prediction = build_layers(context, layers, built.input);
  built.mask = context.mask;
  graph.output("prediction", built.prediction);
  return built;
}

Model::Model() : impl_(std::make_unique<Impl>()) {}
Model::~Model() = default;

const tensor::Shape& Model::input_shape() const { return impl_->input; }
const tensor::Shape& Model::output_shape() const { return impl_->output; }
const std::vector<LayerRow>& Model::rows() const { return impl_->record.rows; }
const std::vector<ParamSpec>& Model::params() const { return impl_->record.params; }
const std::vector<RunningStatistics>& Model::running_statistics() const {
  return impl_->record.running_statistics;
}
const std::vector<CarriedSpec>& Model::carried() const { return impl_->record.carried; }
std::int64_t Model::num_tokens() const { return impl_->num_tokens(); }
std::string Model::final_activation() const { return impl_->final_activation; }

Built Model::build_prediction(Graph& graph, std::int64_t batch) const {
  BuildRecord record;
  Built built = impl_->forward(graph, batch, Mode::inference, record);
  fuse(graph, built);
  return built;
}

Built Model::build_evaluation(Graph& graph, std::int64_t batch, const Loss& loss) const {
  BuildRecord record;
  Built built = impl_->forward(graph, batch, Mode::inference, record);
  add_loss(graph, loss, TargetForm::plain, built);
  fuse(graph, built);
  return built;
}

Built Model::build_training(Graph& graph, std::int64_t batch, const Loss& loss,
                            TargetForm form) const {
  BuildRecord record;
  Built built = impl_->forward(graph, batch, Mode::training, record);
  add_loss(graph, loss, form, built);
  fuse(graph, built);
  autodiff::append_backward(graph, built.loss, built.weight);
  for (const StatisticGradient& statistic : record.statistic_gradients) {
    graph.gradient(statistic.param, statistic.gradient);
  }
  return built;
}

}  // namespace dlt::nn

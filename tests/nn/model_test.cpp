// SPDX-License-Identifier: Apache-2.0
#include "nn/model.h"

#include <cmath>

#include <gmock/gmock.h>

#include "base/rng.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

constexpr const char* kMlp =
    "input: [4]\n"
    "layers:\n"
    "  - dense: {units: 16, activation: tanh}\n"
    "  - dense: {units: 3}\n";

std::vector<float> random_values(std::size_t count, std::uint64_t op) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = rng::normal({.seed = 5, .op = op}, i);
  return values;
}

/// Sum of the losses of a batch whose labels are the index of the largest of three inputs.
struct Trainer {
  explicit Trainer(const std::string& yaml, std::int64_t batch = 32)
      : model(read_model(yaml)),
        loss(read_loss_text("cross_entropy")),
        run(training_run(*model, batch, *loss)),
        input(random_values(static_cast<std::size_t>(4 * batch), 1)),
        weight(static_cast<std::size_t>(batch), 1.0f) {
    for (std::size_t b = 0; b < weight.size(); ++b) {
      const auto row = input.begin() + static_cast<std::ptrdiff_t>(4 * b);
      labels.push_back(static_cast<std::int32_t>(std::max_element(row, row + 3) - row));
    }
    initialize(run.layout(), model->params(), 1, run.params.data());
    run.bind("input", input);
    run.bind("target", labels);
    run.bind("weight", weight);
  }
  double loss_sum() {
    run.run();
    double sum = 0;
    for (const float value : run.output("loss")) sum += static_cast<double>(value);
    return sum;
  }
  std::unique_ptr<Model> model;
  std::unique_ptr<Loss> loss;
  GraphRun run;
  std::vector<float> input, weight;
  std::vector<std::int32_t> labels;
};

TEST(Model, RowsSayWhatEachLayerGives) {
  const auto model = read_model(
      "input: [8, 8, 1]\n"
      "layers: [flatten, {dense: {units: 64, activation: relu}}, {dropout: {rate: 0.1}}, "
      "{dense: {units: 10, name: head}}]\n");
  ASSERT_EQ(model->rows().size(), 4u);
  const LayerRow& first = model->rows()[1];
  EXPECT_EQ(first.name, "dense_1");
  EXPECT_EQ(first.type, "dense");
  EXPECT_EQ(first.output, (tensor::Shape{64}));
  EXPECT_EQ(first.num_params, 64 * 64 + 64);
  EXPECT_EQ(model->rows()[0].num_params, 0);
  EXPECT_EQ(model->rows()[3].name, "head");
  EXPECT_EQ(model->input_shape(), (tensor::Shape{8, 8, 1}));
  EXPECT_EQ(model->output_shape(), (tensor::Shape{10}));
}

TEST(Model, ParametersAreNamedAfterTheirLayers) {
  const auto model = read_model(
      "input: [2]\nlayers: [{dense: {units: 3, name: stem}}, relu, {dense: {units: 1}}]\n");
  std::vector<std::string> names;
  for (const ParamSpec& spec : model->params()) names.push_back(spec.name);
  // Naming one layer leaves the number of the next alone.
  EXPECT_EQ(names, (std::vector<std::string>{"stem.weight", "stem.bias", "dense_2.weight",
                                             "dense_2.bias"}));
}

TEST(Model, TellsItsFinalActivation) {
  const auto last = [](const std::string& layers) {
    return read_model("input: [4]\nlayers: [" + layers + "]\n")->final_activation();
  };
  EXPECT_EQ(last("{dense: {units: 3}}"), "");
  EXPECT_EQ(last("{dense: {units: 3}}, softmax"), "softmax");
  EXPECT_EQ(last("{dense: {units: 3, activation: sigmoid}}"), "sigmoid");
  EXPECT_EQ(last("{dense: {units: 3, activation: sigmoid}}, {dropout: {rate: 0.5}}"), "sigmoid");
  EXPECT_EQ(last("relu, {dense: {units: 3}}, flatten"), "");
}

TEST(Model, GraphsHaveTheirInputsAndOutputs) {
  const auto model = read_model(kMlp);
  const auto loss = read_loss_text("cross_entropy");
  autodiff::Graph prediction(op_table());
  const Built forward = model->build_prediction(prediction, 5);
  EXPECT_EQ(prediction.shape(forward.prediction), (tensor::Shape{5, 3}));
  EXPECT_EQ(prediction.outputs().size(), 1u);
  EXPECT_FALSE(forward.loss.valid());
  EXPECT_FALSE(forward.target.valid());

  autodiff::Graph training(op_table());
  const Built built = model->build_training(training, 5, *loss);
  EXPECT_EQ(training.value(built.input).name, "input");
  EXPECT_EQ(training.value(built.target).type, (tensor::TensorType{{5}, DType::i32}));
  EXPECT_EQ(training.value(built.weight).name, "weight");
  EXPECT_EQ(training.outputs().at("prediction"), built.prediction);
  EXPECT_EQ(training.outputs().at("loss"), built.loss);
  EXPECT_EQ(training.shape(built.loss), (tensor::Shape{5}));
  EXPECT_EQ(training.gradients().size(), 4u);
}

TEST(Model, TargetsOfValuesHaveTheShapeOfThePrediction) {
  const auto model = read_model(kMlp);
  autodiff::Graph graph(op_table());
  const Built built = model->build_evaluation(graph, 5, *read_loss_text("mae"));
  EXPECT_EQ(graph.value(built.target).type, (tensor::TensorType{{5, 3}, DType::f32}));
  EXPECT_FALSE(built.weight.valid());
  EXPECT_TRUE(graph.gradients().empty());
}

TEST(Model, BiasAndActivationAreFused) {
  const auto model = read_model(kMlp);
  const auto loss = read_loss_text("cross_entropy");
  const GraphRun run = training_run(*model, 5, *loss);
  std::vector<std::string> activations;
  for (const autodiff::Node& node : run.graph().nodes()) {
    EXPECT_NE(node.op->name, "bias_add");
    if (node.op->name == "linear") activations.push_back(node.attrs.word("activation", "none"));
  }
  EXPECT_THAT(activations, testing::UnorderedElementsAre("tanh", "none"));
}

TEST(Model, TrainingLowersTheLoss) {
  Trainer trainer(kMlp);
  const double before = trainer.loss_sum();
  double now = before;
  for (int step = 0; step < 200; ++step) {
    for (std::size_t i = 0; i < trainer.run.params.size(); ++i) {
      trainer.run.params[i] -= 0.3f / 32.0f * trainer.run.grads[i];
    }
    now = trainer.loss_sum();
  }
  EXPECT_NEAR(before / 32, std::log(3.0), 0.7);
  EXPECT_LT(now, 0.2 * before);
}

TEST(Model, GradientsAreSlopesOfTheLoss) {
  // An f32 loss has little room for differences, so the slope along a whole direction is compared.
  for (const char* activation :
       {"relu", "leaky_relu", "gelu", "tanh", "sigmoid", "softplus", "silu", "softmax", "none"}) {
    Trainer trainer(std::string("input: [4]\nlayers: [{dense: {units: 16, activation: ") +
                    activation + "}}, {dense: {units: 3}}]\n");
    (void)trainer.loss_sum();
    const std::vector<float> start = trainer.run.params, gradient = trainer.run.grads;
    const std::vector<float> along = random_values(start.size(), 9);
    double slope = 0;
    for (const auto& entry : trainer.run.layout().entries) {
      for (std::int64_t i = entry.offset; i < entry.offset + entry.numel; ++i) {
        const auto at = static_cast<std::size_t>(i);
        slope += static_cast<double>(gradient[at]) * static_cast<double>(along[at]);
      }
    }
    const auto loss_at = [&](float distance) {
      for (std::size_t i = 0; i < start.size(); ++i) {
        trainer.run.params[i] = start[i] + distance * along[i];
      }
      return trainer.loss_sum();
    };
    const float h = 1e-3f;
    const double measured = (loss_at(h) - loss_at(-h)) / (2.0 * static_cast<double>(h));
    EXPECT_NEAR(measured, slope, 0.01 * std::abs(slope) + 0.05) << activation;
  }
}

TEST(Model, SamplesOfWeightZeroTakeNoPart) {
  Trainer all(kMlp, 8);
  std::fill(all.weight.begin() + 4, all.weight.end(), 0.0f);
  (void)all.loss_sum();
  Trainer half(kMlp, 4);
  std::copy_n(all.input.begin(), 16, half.input.begin());
  std::copy_n(all.labels.begin(), 4, half.labels.begin());
  (void)half.loss_sum();
  ASSERT_EQ(all.run.grads.size(), half.run.grads.size());
  for (std::size_t i = 0; i < all.run.grads.size(); ++i) {
    EXPECT_NEAR(all.run.grads[i], half.run.grads[i], 1e-5f) << i;
  }
}

TEST(Model, AnotherLayerLeavesTheStartOfTheOthersAlone) {
  const auto weights = [](const std::string& yaml, const std::string& name) {
    const auto model = read_model(yaml);
    tensor::FlatLayout layout;
    for (const ParamSpec& spec : model->params()) layout.append(spec.name, spec.shape);
    std::vector<float> flat(static_cast<std::size_t>(layout.total), 0.0f);
    initialize(layout, model->params(), 3, flat.data());
    const auto* entry = layout.find(name);
    return std::vector<float>(flat.begin() + entry->offset,
                              flat.begin() + entry->offset + entry->numel);
  };
  EXPECT_EQ(weights("input: [4]\nlayers: [{dense: {units: 4}}, {dense: {units: 2, name: head}}]\n",
                    "head.weight"),
            weights("input: [4]\nlayers: [{dense: {units: 4}}, {dense: {units: 4}}, relu, {dense: "
                    "{units: 2, name: head}}]\n",
                    "head.weight"));
}

TEST(Model, EvaluationAndTrainingAgreeWithoutDropout) {
  Trainer trainer(kMlp, 8);
  (void)trainer.loss_sum();
  autodiff::Graph graph(op_table());
  (void)trainer.model->build_evaluation(graph, 8, *trainer.loss);
  const auto backend = tensor::make_cpu_backend();
  const autodiff::Program program(std::move(graph), *backend, &trainer.run.layout());
  autodiff::Executor executor(program, *backend, trainer.run.params.data());
  executor.bind_input("input", trainer.input.data());
  executor.bind_input("target", trainer.labels.data());
  executor.run({});
  const tensor::View loss = executor.output("loss");
  EXPECT_EQ(std::vector<float>(loss.as<const float>(), loss.as<const float>() + 8),
            trainer.run.output("loss"));
}

}  // namespace
}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "nn/layer.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

/// One dense layer of weight 1 and bias 0 on one element, then the layers given.
std::vector<float> through(const std::string& layers, const std::vector<float>& values) {
  const auto model = read_model("input: [1]\nlayers: [{dense: {units: 1}}, " + layers + "]\n");
  GraphRun run = prediction_run(*model, static_cast<std::int64_t>(values.size()));
  run.set("dense_1.weight", {1.0f});
  run.bind("input", values);
  run.run();
  return run.output("prediction");
}

const std::vector<float> kValues{-2.0f, -0.5f, 0.0f, 0.25f, 3.0f};

template <typename Function>
std::vector<double> mapped(Function function) {
  std::vector<double> result;
  for (const float value : kValues) result.push_back(function(static_cast<double>(value)));
  return result;
}

TEST(Layers, ActivationsAreTheirFunctions) {
  expect_near(through("relu", kValues), mapped([](double x) { return x > 0 ? x : 0; }));
  expect_near(through("leaky_relu", kValues),
              mapped([](double x) { return x > 0 ? x : 0.01 * x; }));
  expect_near(through("leaky_relu: {alpha: 0.3}", kValues),
              mapped([](double x) { return x > 0 ? x : 0.3 * x; }));
  expect_near(through("tanh", kValues), mapped([](double x) { return std::tanh(x); }));
  expect_near(through("sigmoid", kValues), mapped([](double x) { return 1 / (1 + std::exp(-x)); }));
  expect_near(through("softplus", kValues),
              mapped([](double x) { return std::log1p(std::exp(x)); }));
  expect_near(through("silu", kValues), mapped([](double x) { return x / (1 + std::exp(-x)); }));
}

TEST(Layers, GeluIsExactUnlessToldOtherwise) {
  expect_near(through("gelu", kValues),
              mapped([](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }));
  expect_near(through("gelu: {approximate: tanh}", kValues), mapped([](double x) {
                return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
              }));
}

TEST(Layers, ActivationNamesItsFunction) {
  expect_near(through("activation: {name: tanh}", kValues),
              mapped([](double x) { return std::tanh(x); }));
  expect_near(through("activation: {name: leaky_relu, alpha: 0.5}", kValues),
              mapped([](double x) { return x > 0 ? x : 0.5 * x; }));
  expect_near(through("activation: {name: linear}", kValues), mapped([](double x) { return x; }));
}

TEST(Layers, DenseIsAProductABiasAndAnActivation) {
  const auto model = read_model("input: [3]\nlayers: [{dense: {units: 2, activation: relu}}]\n");
  GraphRun run = prediction_run(*model, 2);
  run.set("dense_1.weight", {1, 2, 3, 4, 5, 6});
  run.set("dense_1.bias", {0.5f, -100});
  const std::vector<float> input{1, 1, 1, 1, 0, -1};
  run.bind("input", input);
  run.run();
  expect_near(run.output("prediction"), {9.5, 0, 0, 0});
}

TEST(Layers, DenseTakesAnActivationWithOptions) {
  const auto model = read_model(
      "input: [1]\nlayers: [{dense: {units: 1, activation: {name: leaky_relu, alpha: 0.5}}}]\n");
  GraphRun run = prediction_run(*model, 2);
  run.set("dense_1.weight", {1});
  const std::vector<float> input{-4, 4};
  run.bind("input", input);
  run.run();
  expect_near(run.output("prediction"), {-2, 4});
}

TEST(Layers, DenseWithoutBiasHasOneParameter) {
  const auto model = read_model("input: [3]\nlayers: [{dense: {units: 2, use_bias: false}}]\n");
  ASSERT_EQ(model->params().size(), 1u);
  EXPECT_EQ(model->params()[0].name, "dense_1.weight");
  EXPECT_EQ(model->params()[0].shape, (tensor::Shape{3, 2}));
}

TEST(Layers, DenseSetsTheFansOfItsInitialisers) {
  const auto model = read_model(
      "input: [30]\nlayers: [{dense: {units: 20, kernel_init: he_normal, bias_init: {name: normal, "
      "stddev: 0.25}}}]\n");
  const Init& weight = model->params()[0].init;
  EXPECT_EQ(weight.kind, InitKind::he_normal);
  EXPECT_EQ(weight.fan_in, 30);
  EXPECT_EQ(weight.fan_out, 20);
  EXPECT_EQ(model->params()[1].init.kind, InitKind::normal);
  EXPECT_EQ(model->params()[1].init.stddev, 0.25);
}

TEST(Layers, DenseStartsWithGlorotUniformAndZeros) {
  const auto model = read_model("input: [30]\nlayers: [{dense: {units: 20}}]\n");
  EXPECT_EQ(model->params()[0].init.kind, InitKind::glorot_uniform);
  EXPECT_EQ(model->params()[1].init.kind, InitKind::zeros);
}

TEST(Layers, SoftmaxSumsToOne) {
  const auto model = read_model("input: [2]\nlayers: [{dense: {units: 3}}, softmax]\n");
  GraphRun run = prediction_run(*model, 1);
  run.set("dense_1.bias",
          {0, static_cast<float>(std::log(2.0)), static_cast<float>(std::log(5.0))});
  const std::vector<float> input{1, 2};
  run.bind("input", input);
  run.run();
  expect_near(run.output("prediction"), {0.125, 0.25, 0.625});
}

TEST(Layers, FlattenAndReshapeKeepTheOrder) {
  const auto model = read_model(
      "input: [2, 2]\n"
      "layers: [flatten, {dense: {units: 4, use_bias: false}}, {reshape: {shape: [2, 2]}}]\n");
  EXPECT_EQ(model->rows()[0].output, (tensor::Shape{4}));
  EXPECT_EQ(model->rows()[2].output, (tensor::Shape{2, 2}));
  GraphRun run = prediction_run(*model, 2);
  run.set("dense_1.weight", {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1});
  const std::vector<float> input{1, 2, 3, 4, 5, 6, 7, 8};
  run.bind("input", input);
  run.run();
  EXPECT_EQ(run.output("prediction"), input);
}

TEST(Layers, ReshapeInfersOneSize) {
  const auto model = read_model(
      "input: [12]\n"
      "layers: [{reshape: {shape: [2, -1]}}, {reshape: {shape: -1}}, {dense: {units: 1}}]\n");
  EXPECT_EQ(model->rows()[0].output, (tensor::Shape{2, 6}));
  EXPECT_EQ(model->rows()[1].output, (tensor::Shape{12}));
}

TEST(Layers, DropoutDoesNothingOutsideTraining) {
  const std::vector<float> ones(16, 1.0f);
  EXPECT_EQ(through("dropout: {rate: 0.9}", ones), ones);
}

TEST(Layers, DropoutDropsAtItsRateAndScalesTheRest) {
  const auto model = read_model(
      "input: [1]\nlayers: [{dense: {units: 1000, use_bias: false}}, {dropout: {rate: 0.25}}]\n");
  const auto loss = read_loss_text("mse");
  GraphRun run = training_run(*model, 8, *loss);
  run.set("dense_1.weight", std::vector<float>(1000, 1.0f));
  const std::vector<float> input(8, 1.0f), target(8000, 0.0f), weight(8, 1.0f);
  run.bind("input", input);
  run.bind("target", target);
  run.bind("weight", weight);
  run.run();
  const std::vector<float> first = run.output("prediction");
  int dropped = 0;
  for (const float value : first) {
    if (value == 0.0f) {
      ++dropped;
    } else {
      EXPECT_FLOAT_EQ(value, 1.0f / 0.75f);
    }
  }
  EXPECT_NEAR(dropped, 2000, 200);
  run.run(1, 1);
  EXPECT_NE(run.output("prediction"), first) << "another epoch drops others";
  run.run(1, 0);
  EXPECT_EQ(run.output("prediction"), first) << "the same key drops the same";
}

TEST(Layers, DropoutLayersOfOneModelDropDifferently) {
  const auto count_of = [](const std::string& yaml) {
    const auto model = read_model(yaml);
    autodiff::Graph graph(op_table());
    (void)model->build_training(graph, 2, *read_loss_text("mse"));
    std::set<std::int64_t> ids;
    for (const autodiff::Node& node : graph.nodes()) {
      if (node.op->name == "dropout") ids.insert(node.attrs.integer("op"));
    }
    return ids.size();
  };
  EXPECT_EQ(count_of("input: [4]\nlayers: [{dropout: {rate: 0.5}}, {dense: {units: 4}}, {dropout: "
                     "{rate: 0.5}}]\n"),
            2u);
  EXPECT_EQ(count_of("input: [4]\nlayers: [{dense: {units: 4}}, {dropout: {rate: 0}}]\n"), 0u);
}

TEST(Layers, NamesAreAlphabeticalAndHaveMakers) {
  const std::vector<std::string> names = layer_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const LayerDef& def : layer_defs()) {
    EXPECT_NE(def.make == nullptr, def.make_container == nullptr) << def.name;
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"dense", "dropout", "flatten", "reshape"}));
}

TEST(Layers, ApplyActivationTakesEveryName) {
  for (const std::string& name : activation_names()) {
    autodiff::Graph graph(op_table());
    const autodiff::ValueId x = graph.input("x", {{2, 3}, DType::f32});
    const autodiff::ValueId y = apply_activation(graph, name, x);
    EXPECT_EQ(graph.shape(y), (tensor::Shape{2, 3})) << name;
    EXPECT_EQ(y == x, name == "none" || name == "linear") << name;
  }
}

}  // namespace
}  // namespace dlt::nn

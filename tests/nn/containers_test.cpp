// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> row_names(const Model& model) {
  std::vector<std::string> names;
  for (const LayerRow& row : model.rows()) names.push_back(row.name);
  return names;
}

TEST(Residual, AddsItsInput) {
  const auto model = read_model("input: [2]\nlayers: [{residual: [{dense: {units: 2}}]}]\n");
  GraphRun run = prediction_run(*model, 1);
  run.set("dense_1.weight", {2.0f, 0.0f, 0.0f, 3.0f});
  run.set("dense_1.bias", {0.5f, 0.0f});
  const std::vector<float> input{1.0f, 10.0f};
  run.bind("input", input);
  run.run();
  expect_near(run.output("prediction"), {3.5, 40.0});
}

TEST(Residual, ShortcutAndActivationComeFromItsOptions) {
  const auto model = read_model(
      "input: [1]\nlayers:\n  - residual: {layers: [{dense: {units: 2}}], shortcut: [{dense: "
      "{units: 2}}], activation: relu}\n");
  GraphRun run = prediction_run(*model, 1);
  run.set("dense_1.weight", {1.0f, -5.0f});
  run.set("dense_2.weight", {10.0f, 1.0f});
  const std::vector<float> input{2.0f};
  run.bind("input", input);
  run.run();
  expect_near(run.output("prediction"), {22.0, 0.0});
}

TEST(Residual, DifferentShapesNameBothSidesAtTheLayersPlace) {
  const std::string text = mistakes("input: [2]\nlayers:\n  - residual: [{dense: {units: 3}}]\n");
  EXPECT_THAT(text, HasSubstr("m.yaml:3:5: error: model.layers.0: 'residual_1': the layers give "
                              "[3], the input [2]; want the same shape to add"));
  EXPECT_THAT(text, HasSubstr("shortcut:"));
}

TEST(Residual, MistakesWithinNameTheInnermostLayer) {
  EXPECT_THAT(mistakes("input: [2]\nlayers:\n  - residual:\n      - dense: {units: 2}\n      - "
                       "reshape: {shape: [3]}\n"),
              HasSubstr("m.yaml:5:9: error: model.layers.0.residual.layers.1: "));
  EXPECT_THAT(mistakes("input: [2]\nlayers:\n  - residual: {layers: [{dens: {units: 2}}]}\n"),
              HasSubstr("model.layers.0.residual.layers.0: expected a layer type, got 'dens'"));
}

TEST(Branch, JoinsItsPathsInOrder) {
  const std::string paths = "paths: [[{dense: {units: 1}}], [{dense: {units: 1}}]]";
  for (const auto& [join, wanted] : std::vector<std::pair<std::string, std::vector<double>>>{
           {"concat", {6.0, 15.0}}, {"add", {21.0}}, {"mul", {90.0}}}) {
    const auto model =
        read_model("input: [1]\nlayers:\n  - branch: {" + paths + ", join: " + join + "}\n");
    GraphRun run = prediction_run(*model, 1);
    run.set("dense_1.weight", {2.0f});
    run.set("dense_2.weight", {5.0f});
    const std::vector<float> input{3.0f};
    run.bind("input", input);
    run.run();
    expect_near(run.output("prediction"), wanted);
  }
}

TEST(Branch, PathsThatDoNotFitAreAMistake) {
  EXPECT_THAT(mistakes("input: [2]\nlayers:\n  - branch: {paths: [[{dense: {units: 3}}], [{dense: "
                       "{units: 2}}]], join: add}\n"),
              HasSubstr("'branch_1': path 0 gives [3], path 1 [2]; want the same shape, to add"));
  EXPECT_THAT(mistakes("input: [2]\nlayers:\n  - branch: {paths: [[{dense: {units: 3}}]]}\n"),
              HasSubstr("model.layers.0.branch.paths: expected a list of two or more lists"));
}

TEST(Containers, RowsFollowTheLayerThatHoldsThem) {
  const auto model = read_model(
      "input: [2]\nlayers: [{dense: {units: 2}}, {residual: [{dense: {units: 2}}, relu]}, {dense: "
      "{units: 1}}]\n");
  EXPECT_EQ(row_names(*model),
            (std::vector<std::string>{"dense_1", "residual_1", "dense_2", "relu_1", "dense_3"}));
  EXPECT_EQ(model->rows()[1].num_params, 0);
  EXPECT_EQ(model->rows()[2].num_params, 6);
  EXPECT_EQ(model->rows()[2].depth, 1);
}

}  // namespace
}  // namespace dlt::nn

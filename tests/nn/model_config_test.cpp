// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string config_mistakes(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("c.yaml", yaml, diagnostics);
  const auto model = Model::read(root.find("model"), root.mark, diagnostics, op_table());
  EXPECT_EQ(model == nullptr, !diagnostics.ok());
  return diagnostics.text();
}

/// Mistakes of a list of layers behind an input of [4]; the list begins on line 4.
std::string layer_mistakes(const std::string& layers) {
  return config_mistakes("model:\n  input: [4]\n  layers:\n" + layers);
}

TEST(ModelConfig, UnknownLayersGetTheNearestSpelling) {
  EXPECT_THAT(
      layer_mistakes("    - desne: {units: 3}\n"),
      AllOf(HasSubstr("c.yaml:4:7: error: model.layers.0: expected a layer type, got 'desne'"),
            HasSubstr("did you mean 'dense'?  legal: activation, ")));
  EXPECT_THAT(layer_mistakes("    - flaten\n"),
              AllOf(HasSubstr("c.yaml:4:7: error: model.layers.0"), HasSubstr("'flatten'")));
  EXPECT_THAT(layer_mistakes("    - \"\"\n"), HasSubstr("expected a layer type, got ''"));
}

TEST(ModelConfig, OptionsAreChecked) {
  EXPECT_THAT(
      layer_mistakes("    - dense: {units: 0}\n"),
      HasSubstr("c.yaml:4:22: error: model.layers.0.dense.units: expected an integer from 1 "
                "to 2147483647, got '0'"));
  EXPECT_THAT(layer_mistakes("    - dense: {unit: 3}\n"),
              AllOf(HasSubstr("model.layers.0.dense.unit: unknown key"),
                    HasSubstr("did you mean 'units'?  legal: activation, bias_init, kernel_init, "
                              "name, tied_to, units, use_bias")));
  EXPECT_THAT(layer_mistakes("    - dense\n"), HasSubstr("model.layers.0.dense.units"));
  EXPECT_THAT(layer_mistakes("    - dense:\n"), HasSubstr("model.layers.0.dense.units"));
  EXPECT_THAT(layer_mistakes("    - dense: 64\n"), HasSubstr("model.layers.0.dense"));
  EXPECT_THAT(layer_mistakes("    - dropout: {rate: 1}\n"),
              HasSubstr("model.layers.0.dropout.rate"));
  EXPECT_THAT(layer_mistakes("    - leaky_relu: {alpha: -1}\n"),
              HasSubstr("model.layers.0.leaky_relu.alpha"));
  EXPECT_THAT(layer_mistakes("    - gelu: {approximate: tan}\n"),
              HasSubstr("model.layers.0.gelu.approximate"));
  EXPECT_THAT(layer_mistakes("    - flatten: {units: 3}\n"),
              AllOf(HasSubstr("unknown key"), HasSubstr("legal: name")));
}

TEST(ModelConfig, ActivationsAndInitialisersAreChecked) {
  EXPECT_THAT(layer_mistakes("    - dense: {units: 3, activation: rleu}\n"),
              AllOf(HasSubstr("model.layers.0.dense.activation"), HasSubstr("'relu'")));
  EXPECT_THAT(layer_mistakes("    - dense: {units: 3, activation: {name: relu, alpha: 1}}\n"),
              HasSubstr("model.layers.0.dense.activation.alpha: unknown key"));
  EXPECT_THAT(layer_mistakes("    - dense: {units: 3, activation: {}}\n"),
              HasSubstr("model.layers.0.dense.activation.name"));
  EXPECT_THAT(layer_mistakes("    - activation: {name: softmx}\n"),
              AllOf(HasSubstr("model.layers.0.activation.name"), HasSubstr("'softmax'")));
  EXPECT_THAT(layer_mistakes("    - dense: {units: 3, kernel_init: glorot}\n"),
              HasSubstr("model.layers.0.dense.kernel_init"));
  EXPECT_THAT(layer_mistakes("    - dense: {units: 3, bias_init: {name: zeros, stddev: 1}}\n"),
              HasSubstr("model.layers.0.dense.bias_init.stddev: unknown key"));
}

TEST(ModelConfig, ReshapeSizesAreChecked) {
  const auto reshape = [](const std::string& sizes) {
    return layer_mistakes("    - reshape: {shape: " + sizes + "}\n");
  };
  EXPECT_THAT(reshape("[-1, -1]"), HasSubstr("model.layers.0.reshape.shape: expected one -1"));
  EXPECT_THAT(reshape("[2, 0]"), HasSubstr("expected sizes of at least 1"));
  EXPECT_THAT(reshape("[-2]"), HasSubstr("model.layers.0.reshape.shape"));
  EXPECT_THAT(reshape("[]"), HasSubstr("expected 1 to 7 sizes, got 0"));
  EXPECT_THAT(reshape("[1, 1, 1, 1, 1, 1, 2, 2]"), HasSubstr("expected 1 to 7 sizes, got 8"));
  EXPECT_THAT(reshape("[2147483647, 2147483647, 2147483647]"), HasSubstr("got more"));
}

TEST(ModelConfig, ALayerIsOneTypeWithItsOptions) {
  EXPECT_THAT(
      layer_mistakes("    - dense:\n      units: 3\n"),
      AllOf(
          HasSubstr("c.yaml:4:7: error: model.layers.0: expected one layer type with its options, "
                    "got a map of 2 keys: dense, units"),
          HasSubstr("indent the options below 'dense:'")));
  EXPECT_THAT(layer_mistakes("    - {}\n"), HasSubstr("got an empty map"));
  EXPECT_THAT(layer_mistakes("    - [dense]\n"), HasSubstr("expected a layer, got a list"));
  EXPECT_THAT(layer_mistakes("    -\n"), HasSubstr("expected a layer, got nothing"));
}

TEST(ModelConfig, LayersAreAList) {
  EXPECT_THAT(config_mistakes("model: {input: [4], layers: []}\n"),
              HasSubstr("model.layers: expected 1 to 4096 layers, got 0"));
  EXPECT_THAT(config_mistakes("model: {input: [4]}\n"), HasSubstr("model.layers: expected a list"));
  EXPECT_THAT(config_mistakes("model: {input: [4], layers: {dense: {units: 1}}}\n"),
              HasSubstr("c.yaml:1:29: error: model.layers: expected a list of layers"));
  std::string many = "model:\n  input: [4]\n  layers:\n";
  for (int i = 0; i < 4097; ++i) many += "    - relu\n";
  EXPECT_THAT(config_mistakes(many), HasSubstr("expected 1 to 4096 layers, got 4097"));
}

TEST(ModelConfig, TheModelIsAMap) {
  EXPECT_THAT(config_mistakes("other: 1\n"),
              HasSubstr("model: expected a map with input and layers"));
  EXPECT_THAT(config_mistakes("model: mlp\n"), HasSubstr("c.yaml:1:8: error: model"));
  EXPECT_THAT(config_mistakes("model: {input: [4], layers: [{dense: {units: 1}}], layer: []}\n"),
              AllOf(HasSubstr("model.layer: unknown key"), HasSubstr("legal: input, layers")));
}

TEST(ModelConfig, TheInputIsChecked) {
  const auto input = [](const std::string& sizes) {
    return config_mistakes("model: {input: " + sizes +
                           ", layers: [flatten, {dense: {units: 1}}]}\n");
  };
  EXPECT_THAT(config_mistakes("model: {layers: [{dense: {units: 1}}]}\n"),
              HasSubstr("model.input"));
  EXPECT_THAT(input("[0]"), HasSubstr("model.input"));
  EXPECT_THAT(input("[8, -8]"), HasSubstr("model.input"));
  EXPECT_THAT(input("wide"), HasSubstr("model.input"));
  EXPECT_THAT(input("[]"), HasSubstr("model.input: expected 1 to 7 sizes, got 0"));
  EXPECT_THAT(input("[1, 1, 1, 1, 1, 1, 1, 1]"), HasSubstr("expected 1 to 7 sizes, got 8"));
  EXPECT_THAT(input("[65536, 65536]"), HasSubstr("expected at most 2147483648 elements, got more"));
  EXPECT_THAT(input("[2147483648, 2147483648, 2147483648]"), HasSubstr("got more"));
  EXPECT_EQ(input("[1, 1, 1, 1, 1, 1, 2]"), "");
  EXPECT_EQ(input("3"), "");
}

TEST(ModelConfig, NamesAreTheirOwnAndPlain) {
  EXPECT_THAT(
      layer_mistakes("    - dense: {units: 2, name: a}\n    - dense: {units: 2, name: a}\n"),
      HasSubstr("c.yaml:5:31: error: model.layers.1.dense.name: expected a name of its own, "
                "got 'a', the name of model.layers.0"));
  EXPECT_THAT(
      layer_mistakes("    - dense: {units: 2, name: dense_2}\n    - dense: {units: 2}\n"),
      AllOf(HasSubstr("'dense_2', the name of model.layers.0"), HasSubstr("called TYPE_K")));
  for (const char* name : {"a.b", "a/b", "'a b'", "''", "é", "'../x'"}) {
    EXPECT_THAT(layer_mistakes(std::string("    - dense: {units: 2, name: ") + name + "}\n"),
                HasSubstr("model.layers.0.dense.name: expected 1 to 64 letters"))
        << name;
  }
  EXPECT_THAT(layer_mistakes("    - dense: {units: 2, name: " + std::string(65, 'x') + "}\n"),
              HasSubstr("expected 1 to 64 letters"));
}

TEST(ModelConfig, ShapesAreCheckedWhereTheyDoNotFit) {
  EXPECT_THAT(
      config_mistakes("model:\n  input: [28, 28, 1]\n  layers:\n    - dense: {units: 3}\n"),
      AllOf(HasSubstr("c.yaml:4:7: error: model.layers.0: expected a flat input [n] or sequences "
                      "[T, n] from the model's input for 'dense_1', got [28, 28, 1]"),
            HasSubstr("hint: put the layer 'flatten' before it")));
  EXPECT_THAT(
      layer_mistakes("    - dense: {units: 512}\n    - reshape: {shape: [28, 28]}\n"),
      AllOf(HasSubstr("c.yaml:5:7: error: model.layers.1: expected an input of 784 elements from "
                      "'dense_1' for 'reshape_1', got [512]"),
            HasSubstr("[28, 28]")));
  EXPECT_THAT(
      layer_mistakes("    - dense: {units: 10}\n    - reshape: {shape: [-1, 3], name: r}\n"),
      HasSubstr("expected an input of a multiple of 3 elements from 'dense_1' for 'r', got "
                "[10]"));
}

TEST(ModelConfig, GiantModelsAreRefused) {
  EXPECT_THAT(
      config_mistakes("model:\n  input: [2147483647]\n  layers:\n    - dense: {units: 1024}\n"),
      HasSubstr("c.yaml:4:7: error: model.layers.0: expected at most 17179869184 elements in "
                "'dense_1.weight', got [2147483647, 1024]"));
  EXPECT_THAT(config_mistakes(
                  "model:\n  input: [2147483647]\n  layers:\n    - dense: {units: 2147483647}\n"),
              HasSubstr("c.yaml:4:7: error: model.layers.0"));
  std::string many = "model:\n  input: [131072]\n  layers:\n";
  for (int i = 0; i < 65; ++i) many += "    - dense: {units: 131072, use_bias: false}\n";
  EXPECT_THAT(config_mistakes(many),
              HasSubstr("c.yaml:68:7: error: model.layers.64: expected at most 1099511627776 "
                        "parameters up to 'dense_65', got 1116691496960"));
}

TEST(ModelConfig, AModelWithoutParametersIsRefused) {
  EXPECT_THAT(layer_mistakes("    - relu\n"),
              HasSubstr("model.layers: expected at least one layer with parameters"));
}

TEST(ModelConfig, AllMistakesAreFoundAtOnce) {
  const std::string text = config_mistakes(
      "model:\n  input: [0]\n  layers:\n    - desne\n    - dense: {units: -1}\n    - dropout\n");
  EXPECT_THAT(text, AllOf(HasSubstr("model.input"), HasSubstr("model.layers.0"),
                          HasSubstr("model.layers.1.dense.units"),
                          HasSubstr("model.layers.2.dropout.rate")));
}

}  // namespace
}  // namespace dlt::nn

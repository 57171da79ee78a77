// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "autodiff/passes.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using tensor::Shape;
using testing::AllOf;
using testing::HasSubstr;

/// "input: INPUT\nlayers: [LAYERS]\n"
std::string yaml(const std::string& input, const std::string& layers) {
  return "input: " + input + "\nlayers: [" + layers + "]\n";
}

Shape output_of(const std::string& input, const std::string& layers) {
  const auto model = read_model(yaml(input, layers));
  return model == nullptr ? Shape{} : model->rows().back().output;
}

std::string mistake(const std::string& input, const std::string& layers) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("m.yaml", yaml(input, layers), diagnostics);
  (void)Model::read(&node, node.mark, diagnostics, op_table());
  return diagnostics.text();
}

TEST(ConvLayers, SizesFollowStrideDilationAndPadding) {
  EXPECT_EQ(output_of("[7, 9, 2]", "{conv2d: {filters: 3, kernel_size: 3}}"), (Shape{5, 7, 3}));
  EXPECT_EQ(output_of("[7, 8, 2]", "{conv2d: {filters: 3, kernel_size: [3, 2], strides: 2}}"),
            (Shape{3, 4, 3}));
  EXPECT_EQ(
      output_of("[7, 8, 2]", "{conv2d: {filters: 3, kernel_size: 4, strides: 2, padding: same}}"),
      (Shape{4, 4, 3}));
  EXPECT_EQ(output_of("[9, 9, 2]", "{conv2d: {filters: 3, kernel_size: 3, dilation: [2, 3]}}"),
            (Shape{5, 3, 3}));
  EXPECT_EQ(output_of("[5, 5, 2]", "{conv2d: {filters: 3, kernel_size: 3, padding: 1}}"),
            (Shape{5, 5, 3}));
  EXPECT_EQ(output_of("[5, 5, 2]", "{conv2d: {filters: 3, kernel_size: 3, padding: [1, 0]}}"),
            (Shape{5, 3, 3}));
  EXPECT_EQ(output_of("[5, 5, 2]", "{conv2d: {filters: 3, kernel_size: 3, padding: [2, 1, 0, 1]}}"),
            (Shape{6, 4, 3}));
  EXPECT_EQ(output_of("[10, 2]", "{conv1d: {filters: 4, kernel_size: 3, strides: 2}}"),
            (Shape{4, 4}));
  EXPECT_EQ(output_of("[6, 6, 3]", "{depthwise_conv2d: {kernel_size: 3, depth_multiplier: 2}}"),
            (Shape{4, 4, 6}));
}

TEST(ConvLayers, TransposedSizesFollowKerasAndPyTorch) {
  const auto size = [](const std::string& options) {
    return output_of("[4, 5, 2]", "{conv2d_transpose: {filters: 3, " + options + "}}");
  };
  EXPECT_EQ(size("kernel_size: 3"), (Shape{6, 7, 3}));
  EXPECT_EQ(size("kernel_size: 3, strides: 2"), (Shape{9, 11, 3}));
  EXPECT_EQ(size("kernel_size: 2, strides: 3"), (Shape{12, 15, 3}));  // Keras
  EXPECT_EQ(size("kernel_size: 3, strides: 2, padding: same"), (Shape{8, 10, 3}));
  EXPECT_EQ(size("kernel_size: 3, strides: 2, padding: 1"), (Shape{7, 9, 3}));
  EXPECT_EQ(size("kernel_size: 3, strides: 2, padding: 1, output_padding: 1"), (Shape{8, 10, 3}));
}

TEST(ConvLayers, ParametersHaveKernelChannelsAndFilters) {
  const auto model =
      read_model(yaml("[5, 5, 4]",
                      "{conv2d: {filters: 6, kernel_size: [3, 2], groups: 2, kernel_init: "
                      "he_normal}}, {conv2d_transpose: {filters: 2, kernel_size: 3, use_bias: "
                      "false}}"));
  ASSERT_EQ(model->params().size(), 3u);
  EXPECT_EQ(model->params()[0].name, "conv2d_1.weight");
  EXPECT_EQ(model->params()[0].shape, (Shape{3, 2, 2, 6}));
  EXPECT_EQ(model->params()[0].init.fan_in, 12);
  EXPECT_EQ(model->params()[0].init.fan_out, 36);
  EXPECT_EQ(model->params()[1].shape, (Shape{6}));
  EXPECT_EQ(model->params()[2].name, "conv2d_transpose_1.weight");
  EXPECT_EQ(model->params()[2].shape, (Shape{3, 3, 2, 6}));
  const auto sequence = read_model(yaml("[5, 4]", "{conv1d: {filters: 6, kernel_size: 3}}"));
  EXPECT_EQ(sequence->params()[0].shape, (Shape{3, 4, 6}));
}

std::vector<std::string> training_ops(const std::string& model_text) {
  const auto model = read_model(model_text);
  const auto loss = read_loss_text("mse");
  autodiff::Graph graph(op_table());
  (void)model->build_training(graph, 2, *loss);
  (void)autodiff::remove_dead_nodes(graph);
  std::vector<std::string> names;
  for (const autodiff::Node& node : graph.nodes()) names.emplace_back(node.op->name);
  return names;
}

TEST(ConvLayers, BiasAndActivationAreFusedAndTheFirstLayerHasNoInputGradient) {
  const std::vector<std::string> ops =
      training_ops(yaml("[6, 6, 1]",
                        "{conv2d: {filters: 2, kernel_size: 3, activation: relu}}, {conv2d: "
                        "{filters: 3, kernel_size: 3, activation: tanh}}, flatten"));
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "conv2d"), 2);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "bias_add"), 0);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "relu"), 0);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "tanh"), 0);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "activation_bias_grad"), 2);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "conv2d_weight_grad"), 2);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "conv2d_input_grad"), 1);
}

TEST(ConvLayers, ShapesThatDoNotFitAreMistakes) {
  EXPECT_THAT(mistake("[5, 5]", "{conv2d: {filters: 3, kernel_size: 3}}"),
              AllOf(HasSubstr("model.layers.0"), HasSubstr("an image [height, width, channels]"),
                    HasSubstr("'conv2d_1', got [5, 5]")));
  EXPECT_THAT(mistake("[4, 9, 1]", "relu, {conv2d: {filters: 3, kernel_size: 5}}"),
              AllOf(HasSubstr("model.layers.1"), HasSubstr("at least 5 places along axis 0"),
                    HasSubstr("kernel [5, 5]"), HasSubstr("'conv2d_1', got [4, 9, 1]")));
  EXPECT_THAT(mistake("[9, 9, 1]", "{conv2d: {filters: 3, kernel_size: 5, dilation: 3}}"),
              HasSubstr("at least 13 places along axis 0 (kernel [5, 5], dilation [3, 3])"));
  EXPECT_THAT(
      mistake("[9, 9, 4]", "{conv2d: {filters: 6, kernel_size: 3, groups: 3}}"),
      AllOf(HasSubstr("a number of channels that groups (3) divides"), HasSubstr("got [9, 9, 4]")));
  EXPECT_THAT(mistake("[9, 9, 4]", "{conv2d: {filters: 5, kernel_size: 3, groups: 2}}"),
              HasSubstr("groups: expected a divisor of filters (5), got '2'"));
  EXPECT_THAT(mistake("[9, 4, 1]", "{conv1d: {filters: 5, kernel_size: 3}}"),
              HasSubstr("a sequence [time, channels]"));
  EXPECT_THAT(mistake("[9, 9, 1]", "{conv2d: {filters: 5}}"), HasSubstr("kernel_size"));
  EXPECT_THAT(mistake("[2, 2, 1]", "{conv2d_transpose: {filters: 1, kernel_size: 1, padding: 1}}"),
              AllOf(HasSubstr("more places along axis 0"), HasSubstr("got [2, 2, 1]")));
  EXPECT_THAT(mistake("[2, 2, 1]",
                      "{conv2d_transpose: {filters: 1, kernel_size: 3, strides: 2, "
                      "padding: 1, output_padding: 2}}"),
              HasSubstr("output_padding: expected less than the stride 2, got '2'"));
}

}  // namespace
}  // namespace dlt::nn

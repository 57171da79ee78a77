// SPDX-License-Identifier: Apache-2.0
#include "nn/zoo.h"

#include <gmock/gmock.h>

#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using ::testing::HasSubstr;

std::int64_t num_params(const Model& model) {
  std::int64_t total = 0;
  for (const ParamSpec& spec : model.params()) {
    if (spec.kind == ParamKind::trainable) total += spec.shape.numel();
  }
  return total;
}

TEST(Zoo, MlpHasTheLayersOneWouldWrite) {
  const auto named = read_model("{name: mlp, input: [28, 28, 1], units: [512, 512], classes: 10}");
  const auto written = read_model(
      "input: [28, 28, 1]\nlayers: [flatten, {dense: {units: 512, activation: relu}}, {dense: "
      "{units: 512, activation: relu}}, {dense: {units: 10}}]\n");
  EXPECT_EQ(num_params(*named), 669706);
  ASSERT_EQ(named->rows().size(), written->rows().size());
  for (std::size_t i = 0; i < written->rows().size(); ++i) {
    EXPECT_EQ(named->rows()[i].name, written->rows()[i].name);
    EXPECT_EQ(named->rows()[i].output, written->rows()[i].output);
  }
}

TEST(Zoo, UnknownNamesGetTheNearestAndNothingElse) {
  config::Diagnostics diagnostics;
  const config::Node node =
      config::parse("m.yaml", "{name: mpl, input: [4], units: [8]}", diagnostics);
  EXPECT_EQ(Model::read(&node, node.mark, diagnostics, op_table()), nullptr);
  EXPECT_THAT(diagnostics.text(), HasSubstr("did you mean 'mlp'?"));
  EXPECT_EQ(diagnostics.size(), 1U);
}

TEST(Zoo, AnInputThatNoModelCanBeMadeForIsAMistakeOfTheConfig) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse(
      "m.yaml", "{name: gpt, input: [2147483648], vocabulary: 65, layers: 1, heads: 1, units: 4}",
      diagnostics);
  EXPECT_EQ(Model::read(&node, node.mark, diagnostics, op_table()), nullptr);
  EXPECT_THAT(diagnostics.text(), HasSubstr("input: expected sizes that gpt can be made for"));
}

TEST(Zoo, ANumberOfLayersIsAnOption) {
  const auto gpt = read_model(
      "{name: gpt, input: [8], vocabulary: 11, layers: 3, heads: 2, units: 4, use_bias: false}");
  ASSERT_NE(gpt, nullptr);
  EXPECT_EQ(gpt->output_shape(), (tensor::Shape{8, 11}));
  // A table each for tokens (tied) and positions, 12 C² and two norms a block, the last norm.
  EXPECT_EQ(num_params(*gpt), 11 * 4 + 8 * 4 + 3 * (12 * 16 + 8) + 4);
}

TEST(Zoo, NameAndLayersExcludeEachOther) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse(
      "m.yaml", "{name: mlp, input: [4], layers: [{dense: {units: 1}}]}", diagnostics);
  EXPECT_EQ(Model::read(&node, node.mark, diagnostics, op_table()), nullptr);
  EXPECT_THAT(diagnostics.text(),
              HasSubstr("model.layers: expected either model.name or model.layers, got both"));
}

}  // namespace
}  // namespace dlt::nn

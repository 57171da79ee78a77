// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <gmock/gmock.h>

#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> params_of(const Model& model) {
  std::vector<std::string> out;
  for (const ParamSpec& spec : model.params()) out.push_back(spec.name + spec.shape.text());
  return out;
}

std::vector<float> start_of(const Model& model, const std::string& param) {
  tensor::FlatLayout layout;
  for (const ParamSpec& spec : model.params()) layout.append(spec.name, spec.shape);
  std::vector<float> flat(static_cast<std::size_t>(layout.total));
  initialize(layout, model.params(), 3, flat.data());
  const tensor::FlatLayout::Entry* entry = layout.find(param);
  if (entry == nullptr) return {};
  return {flat.begin() + entry->offset, flat.begin() + entry->offset + entry->numel};
}

TEST(Recurrent, GivesTheLastStateOrAll) {
  const char* one = "input: [7, 3]\nlayers: [{lstm: {units: 5}}]\n";
  const char* all = "input: [7, 3]\nlayers: [{gru: {units: 5, return_sequences: true}}]\n";
  const char* both = "input: [7, 3]\nlayers: [{simple_rnn: {units: 5, bidirectional: true}}]\n";
  EXPECT_EQ(read_model(one)->output_shape(), (tensor::Shape{5}));
  EXPECT_EQ(read_model(all)->output_shape(), (tensor::Shape{7, 5}));
  EXPECT_EQ(read_model(both)->output_shape(), (tensor::Shape{10}));
}

TEST(Recurrent, ParametersAreNamedByWhatTheyMultiply) {
  const auto gru = read_model("input: [7, 3]\nlayers: [{gru: {units: 2}}]\n");
  EXPECT_EQ(params_of(*gru),
            (std::vector<std::string>{"gru_1.weight[3, 6]", "gru_1.bias[6]",
                                      "gru_1.recurrent_weight[2, 6]", "gru_1.recurrent_bias[6]"}));
  const auto both = read_model(
      "input: [7, 3]\nlayers: [{bidirectional: {layer: {lstm: {units: 2, use_bias: false}}}}]\n");
  EXPECT_EQ(params_of(*both),
            (std::vector<std::string>{"lstm_1.weight[3, 8]", "lstm_1.recurrent_weight[2, 8]",
                                      "lstm_1.weight_reverse[3, 8]",
                                      "lstm_1.recurrent_weight_reverse[2, 8]"}));
}

TEST(Recurrent, ForgetGatesStartOpen) {
  const auto open = read_model("input: [7, 3]\nlayers: [{lstm: {units: 2}}]\n");
  EXPECT_EQ(start_of(*open, "lstm_1.bias"), (std::vector<float>{0, 0, 1, 1, 0, 0, 0, 0}));
  const auto closed =
      read_model("input: [7, 3]\nlayers: [{lstm: {units: 2, unit_forget_bias: false}}]\n");
  EXPECT_EQ(start_of(*closed, "lstm_1.bias"), std::vector<float>(8, 0.0f));
}

TEST(Recurrent, WantsASequence) {
  EXPECT_THAT(mistakes("input: [7]\nlayers:\n  - lstm: {units: 2}\n"),
              HasSubstr("expected a sequence [T, n] from the model's input for 'lstm_1', got [7]"));
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - dense: {units: 4}\n  - flatten\n  - masking\n"),
              HasSubstr("for 'masking_1'"));
}

TEST(Recurrent, OptionsThatDoNotFitAreMistakes) {
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - lstm: {units: 2, activation: relu}\n"),
              HasSubstr("m.yaml:3:34: error: model.layers.0.lstm.activation: expected"));
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - gru: {units: 2, go_backwards: true, "
                       "bidirectional: true}\n"),
              HasSubstr("model.layers.0.gru.go_backwards: expected false beside bidirectional"));
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - bidirectional: {layer: {dense: {units: 2}}}\n"),
              HasSubstr("expected gru, lstm or simple_rnn with one direction, forwards, got "
                        "'dense'"));
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - bidirectional: {merge: sum}\n"),
              HasSubstr("layer: {lstm: {units: 32}}"));
}

TEST(Recurrent, StatefulLayersCarryTheirStatesInTrainingOnly) {
  const auto model = read_model(
      "input: [7, 3]\nlayers: [{lstm: {units: 5, stateful: true}}, {dense: {units: 1}}]\n");
  ASSERT_EQ(model->carried().size(), 2U);
  EXPECT_EQ(model->carried()[1].name, "state.lstm_1.c");
  EXPECT_EQ(model->carried()[1].size, 5);
  const auto loss = read_loss_text("mse");
  autodiff::Graph training(op_table()), evaluation(op_table());
  (void)model->build_training(training, 2, *loss);
  (void)model->build_evaluation(evaluation, 2, *loss);
  EXPECT_EQ(training.outputs().count("state.lstm_1.h"), 1U);
  EXPECT_EQ(evaluation.outputs().count("state.lstm_1.h"), 0U);
  EXPECT_THAT(mistakes("input: [7, 3]\nlayers:\n  - gru: {units: 2, stateful: true, go_backwards: "
                       "true}\n"),
              HasSubstr("model.layers.0.gru.stateful: expected false"));
}

TEST(Masking, StepsOfTheValueLeaveTheStateAsItIs) {
  const auto model =
      read_model("input: [3, 1]\nlayers: [{masking: {value: 9}}, {simple_rnn: {units: 1}}]\n");
  GraphRun run = prediction_run(*model, 1);
  run.set("simple_rnn_1.weight", {1.0f});
  run.set("simple_rnn_1.recurrent_weight", {1.0f});
  const std::vector<float> padded{0.5f, 9.0f, 9.0f};
  run.bind("input", padded);
  run.run();
  expect_near(run.output("prediction"), {std::tanh(0.5)});
}

TEST(Masking, EndsWhereTheStepsEnd) {
  const auto model = read_model(
      "input: [4, 1]\nlayers: [masking, {reshape: {shape: [2, 2]}}, {lstm: {units: 3}}]\n");
  EXPECT_EQ(model->output_shape(), (tensor::Shape{3}));
}

TEST(Orthogonal, RowsOrColumnsAreOrthonormal) {
  for (const auto& sizes : {std::pair{5, 20}, std::pair{20, 5}, std::pair{9, 9}}) {
    const int rows = sizes.first, cols = sizes.second;
    tensor::FlatLayout layout;
    layout.append("w", {rows, cols});
    std::vector<float> w(static_cast<std::size_t>(layout.total));
    initialize(layout, {{"w", {rows, cols}, {.kind = InitKind::orthogonal}}}, 1, w.data());
    const int count = std::min(rows, cols), size = std::max(rows, cols);
    const auto at = [&](int i, int k) {
      return static_cast<double>(
          w[static_cast<std::size_t>(rows <= cols ? i * cols + k : k * cols + i)]);
    };
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j <= i; ++j) {
        double sum = 0;
        for (int k = 0; k < size; ++k) sum += at(i, k) * at(j, k);
        EXPECT_NEAR(sum, i == j ? 1 : 0, 1e-6) << rows << "x" << cols << " " << i << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
// What find_look_ahead says of a model, against what the model does.
#include "nn/look_ahead.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/rng.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kLength = 6;

std::string model_of(const std::string& layers) {
  return "input: [6]\nlayers: [{embedding: {input_dim: 9, output_dim: 4}}, " + layers +
         ", {dense: {units: 9}}]\n";
}

std::string said_of(const std::string& layers) {
  const auto model = read_model(model_of(layers));
  autodiff::Graph graph(op_table());
  const Built built = model->build_prediction(graph, 1);
  const auto look_ahead = find_look_ahead(graph, built.input, built.prediction);
  return look_ahead ? look_ahead->layer + ": " + look_ahead->reason : "";
}

/// Whether logits at some position change with a token behind it.
bool looks_ahead(const std::string& layers) {
  const auto model = read_model(model_of(layers));
  GraphRun run = prediction_run(*model, 1);
  for (std::size_t i = 0; i < run.params.size(); ++i) {
    run.params[i] = 0.02f + 0.3f * rng::uniform({7, 1, 0, 0}, i);  // variances are above 0
  }
  const std::vector<std::int32_t> tokens{1, 5, 2, 7, 3, 8};
  run.bind("input", tokens);
  run.run();
  const std::vector<float> before = run.output("prediction");
  const auto width = static_cast<std::ptrdiff_t>(before.size()) / kLength;
  for (std::ptrdiff_t changed = 1; changed < kLength; ++changed) {
    std::vector<std::int32_t> others = tokens;
    others[static_cast<std::size_t>(changed)] = 4;
    run.bind("input", others);
    run.run();
    const std::vector<float> after = run.output("prediction");
    if (!std::equal(before.begin(), before.begin() + changed * width, after.begin())) return true;
  }
  return false;
}

struct Row {
  const char* layers;
  const char* said;  // empty: it does not look ahead
};

class LookAheadOf : public ::testing::TestWithParam<Row> {};

TEST_P(LookAheadOf, IsWhatTheModelDoes) {
  const Row& row = GetParam();
  EXPECT_EQ(said_of(row.layers), row.said);
  EXPECT_EQ(looks_ahead(row.layers), std::string(row.said) != "");
}

constexpr Row kRows[] = {
    {"{dense: {units: 5, activation: gelu}}", ""},
    {"positional_embedding, {transformer_block: {heads: 2, causal: true}}, layer_norm", ""},
    {"{transformer_block: {heads: 2, causal: true, norm: rms_norm, gated: true, rope: true, "
     "norm_first: false}}, sinusoidal_embedding",
     ""},
    {"{transformer_block: {heads: 2}}", "transformer_block_1: its attention is not causal"},
    {"{multi_head_attention: {heads: 2}}", "multi_head_attention_1: its attention is not causal"},
    {"{lstm: {units: 3, return_sequences: true}}, {gru: {units: 3, return_sequences: true}}", ""},
    {"{simple_rnn: {units: 3, return_sequences: true, go_backwards: true}}",
     "simple_rnn_1: it goes from the last position to the first"},
    {"{bidirectional: {layer: {lstm: {units: 3, return_sequences: true}}}}",
     "lstm_1: it goes from the last position to the first"},
    {"{conv1d: {filters: 3, kernel_size: 3, padding: same}}",
     "conv1d_1: a convolution takes in later positions"},
    {"{conv1d: {filters: 3, kernel_size: 3, padding: [2, 0]}}", ""},
    {"{conv1d: {filters: 3, kernel_size: 3, dilation: 2, padding: [4, 0]}}", ""},
    {"{conv1d: {filters: 3, kernel_size: 3, dilation: 2, padding: [3, 1]}}",
     "conv1d_1: a convolution takes in later positions"},
    {"{max_pool1d: {pool_size: 3, strides: 1, padding: same}}",
     "max_pool1d_1: pooling takes in later positions"},
    {"{avg_pool1d: {pool_size: 2, strides: 1, padding: [1, 0]}}", ""},
    {"{residual: [{dense: {units: 4}}, batch_norm]}", ""},
    {"{group_norm: {groups: 2}}", "group_norm_1: op group_norm does not keep positions apart"},
    {"{branch: {paths: [[{dense: {units: 2}}], [{lstm: {units: 2, return_sequences: true}}]]}}",
     ""},
    {"flatten, {dense: {units: 12}}, {reshape: {shape: [6, 2]}}",
     "dense_1: op linear does not keep positions apart"},
};

INSTANTIATE_TEST_SUITE_P(Models, LookAheadOf, ::testing::ValuesIn(kRows));

}  // namespace
}  // namespace dlt::nn

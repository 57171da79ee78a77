// SPDX-License-Identifier: Apache-2.0
// Layers of language models: what the golden files do not show.
#include <gmock/gmock.h>

#include "base/error.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using ::testing::HasSubstr;

/// What is wrong with a model.
std::string tokens(const std::string& layers) {
  return "input: [6]\nlayers:\n  - embedding: {input_dim: 9, output_dim: 4}\n" + layers;
}

TEST(Language, TokensAreOfTheirOwnKindOnly) {
  const auto model = read_model(tokens("  - dense: {units: 9}\n"));
  EXPECT_EQ(model->num_tokens(), 9);
  EXPECT_EQ(model->output_shape(), (tensor::Shape{6, 9}));
  EXPECT_THAT(mistakes("input: [6]\nlayers:\n  - dense: {units: 9}\n"
                       "  - embedding: {input_dim: 9, output_dim: 4}\n"),
              HasSubstr("expected token ids from 'dense_1' for 'embedding_1', got [9]"));
}

TEST(Language, AnIdOutsideTheVocabularyNamesItsPlace) {
  GraphRun run = prediction_run(*read_model(tokens("")), 2);
  std::vector<std::int32_t> ids(12, 3);
  ids[10] = 9;
  run.bind("input", ids);
  try {
    run.run();
    FAIL() << "id 9 of 9 tokens was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::data);
    EXPECT_STREQ(error.what(), "embedding: token id 9 at sample 1, position 4; want 0 to 8");
  }
}

TEST(Language, SequencesLongerThanThePositionsAreRefused) {
  const std::string text = mistakes(tokens("  - positional_embedding: {max_length: 5}\n"));
  EXPECT_THAT(text, HasSubstr("expected a sequence of at most 5 positions from 'embedding_1' for "
                              "'positional_embedding_1', got [6, 4]"));
  EXPECT_THAT(text, HasSubstr("the sequence has 6 positions"));
}

TEST(Language, TiesFitTheirEmbedding) {
  const auto model = read_model(tokens("  - dense: {units: 9, tied_to: embedding_1}\n"));
  EXPECT_EQ(model->params().size(), 2U);  // the table and the bias
  EXPECT_THAT(mistakes(tokens("  - dense: {units: 8, tied_to: embedding_1}\n")),
              HasSubstr("'dense_1': expected [8, 4] (units and the input's last size) in "
                        "'embedding_1.weight' to tie to, got [9, 4]"));
  EXPECT_THAT(mistakes(tokens("  - dense: {units: 9, tied_to: embedding_2}\n")),
              HasSubstr("expected an embedding before it that is called 'embedding_2'"));
  EXPECT_THAT(mistakes(tokens("  - dense: {units: 9, tied_to: embedding_1, kernel_init: ones}\n")),
              HasSubstr("expected no initialiser beside tied_to"));
}

TEST(Language, HeadsDivideWhatTheyShare) {
  EXPECT_THAT(mistakes(tokens("  - multi_head_attention: {heads: 3}\n")),
              HasSubstr("expected a last size that the 3 heads divide from 'embedding_1'"));
  EXPECT_THAT(mistakes(tokens("  - multi_head_attention: {heads: 4, kv_heads: 3}\n")),
              HasSubstr("expected a divisor of heads, 4, got '3'"));
  EXPECT_THAT(mistakes(tokens("  - multi_head_attention: {heads: 4, rope: true}\n")),
              HasSubstr("expected an even head_size, got 1"));
}

TEST(Language, PaddingAtTheEndChangesNothingBeforeIt) {
  const auto model = read_model(
      "input: [6]\nlayers:\n  - embedding: {input_dim: 9, output_dim: 4, mask_zero: true}\n"
      "  - multi_head_attention: {heads: 2}\n");
  GraphRun run = prediction_run(*model, 1);
  for (std::size_t i = 0; i < run.params.size(); ++i) {
    run.params[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
  }
  const std::vector<std::int32_t> ids{5, 2, 7, 0, 0, 0};
  run.bind("input", ids);
  run.run();
  const std::vector<float> padded = run.output("prediction");
  // The same with a table in which the padding's row holds other numbers.
  const auto* table = run.layout().find("embedding_1.weight");
  for (std::int64_t i = 0; i < 4; ++i) run.params[static_cast<std::size_t>(table->offset + i)] = 9;
  run.run();
  const std::vector<float> other = run.output("prediction");
  for (std::size_t i = 0; i < 3 * 4; ++i) EXPECT_EQ(padded[i], other[i]) << i;
  EXPECT_NE(padded, other);  // the padding's own rows do see it, as queries
}

/// The same network and seed, samples in another order and another batch.
TEST(Language, AttentionDropoutBelongsToTheSample) {
  const auto model =
      read_model(tokens("  - multi_head_attention: {heads: 2, causal: true, dropout: 0.5}\n"));
  const auto loss = read_loss_text("mse");
  const auto prediction = [&](std::int64_t batch, std::uint64_t epoch) {
    GraphRun run = training_run(*model, batch, *loss);
    for (std::size_t i = 0; i < run.params.size(); ++i) {
      run.params[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
    }
    const auto count = static_cast<std::size_t>(batch);
    const std::vector<std::int32_t> ids(count * 6, 4);
    const std::vector<float> target(count * 24, 0.0f), weight(count, 1.0f);
    run.bind("input", ids);
    run.bind("target", target);
    run.bind("weight", weight);
    run.run(1, epoch);
    return run.output("prediction");
  };
  const std::vector<float> two = prediction(2, 0), three = prediction(3, 0);
  EXPECT_TRUE(std::equal(two.begin(), two.end(), three.begin()));
  EXPECT_FALSE(std::equal(two.begin(), two.begin() + 24, two.begin() + 24));
  EXPECT_NE(two, prediction(2, 1));
}

}  // namespace
}  // namespace dlt::nn

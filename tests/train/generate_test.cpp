// SPDX-License-Identifier: Apache-2.0
#include "train/generate.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "ops/ops.h"
#include "support/temp_folder.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using ::testing::HasSubstr;

/// A model of [4] tokens to logits of the next, on a text that goes "abcdé" round and round.
class Generate : public ::testing::Test {
 protected:
  Generate() {
    data::Hdf5Writer writer(folder_ / "text.h5");
    std::vector<std::uint8_t> tokens;
    for (int i = 0; i < 400; ++i) tokens.push_back(static_cast<std::uint8_t>(i % 5));
    writer.write({.name = "/train/tokens", .dtype = DType::u8, .num_rows = 400}, tokens.data());
    data::write_vocabulary(writer, data::Tokenizer(data::Tokenizer::Kind::characters,
                                                   {"a", "b", "c", "d", "é", "x"}, {}, "test"));
    writer.commit();
    files_ = {.config = folder_ / "job.yaml", .run_dir = folder_ / "run"};
    write_config("dense: {units: 6}");
  }

  void write_config(const std::string& last_layer) const {
    std::ofstream(files_.config)
        << "run: {name: text, dir: " << files_.run_dir << ", seed: 3}\n"
        << "model:\n  input: [4]\n  layers:\n"
        << "    - embedding: {input_dim: 6, output_dim: 8}\n    - flatten\n"
        << "    - " << last_layer << "\n"
        << "loss: cross_entropy\ndata:\n"
        << "  train: {file: " << (folder_ / "text.h5")
        << ", inputs: /train/tokens, window: {length: 4}}\n"
        << "  global_batch_size: 33\n"
        << "train: {epochs: 20, leaves: 1, threads: 1}\n"
        << "optimizer: {name: adam, learning_rate: 0.05}\n"
        << "log: {tensorboard: false}\n";
  }

  train::GenerateOptions options(const std::string& prompt) const {
    return {.config_path = files_.config, .checkpoint = files_.run_dir, .prompt = prompt};
  }

  /// The pieces, as they came.
  std::vector<std::string> generate(const train::GenerateOptions& options) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto backend = tensor::make_cpu_backend();
    SystemFs fs;
    SystemClock clock;
    const train::Surroundings around{.table = table,
                                     .backend = *backend,
                                     .fs = fs,
                                     .clock = clock,
                                     .host = "here",
                                     .program_version = "test",
                                     .program_hash = "0"};
    std::vector<std::string> pieces;
    train::GenerateJob(around, options).run([&](const std::string& text) {
      pieces.push_back(text);
    });
    return pieces;
  }

  std::string refusal(const train::GenerateOptions& options) {
    return test::error_of([&] { (void)generate(options); });
  }

  TempFolder folder_;
  JobFiles files_;
};

TEST_F(Generate, GoesOnAsTheTextDid) {
  (void)run_job(files_, {});
  train::GenerateOptions o = options("dabcdéabcd");
  o.tokens = 7;
  o.sampling.temperature = 0.0;
  EXPECT_EQ(generate(o),
            (std::vector<std::string>{"dabcdéabcd", "é", "a", "b", "c", "d", "é", "a"}));
  o.stop = "dé";
  EXPECT_EQ(join(generate(o), ""), "dabcdéabcdéabc");
}

TEST_F(Generate, ReadsThePositionOfTheLastTokenWhereTheModelHasOneEach) {
  std::vector<std::uint8_t> tokens;
  std::vector<float> next;  // one-hot
  for (int i = 0; i < 200; ++i) {
    tokens.push_back(static_cast<std::uint8_t>(i % 5));
    for (int token = 0; token < 6; ++token) next.push_back(token == (i + 1) % 5 ? 1.0F : 0.0F);
  }
  data::Hdf5Writer writer(folder_ / "rows.h5");
  writer.write({.name = "/x", .dtype = DType::u8, .num_rows = 50, .row_shape = {4}}, tokens.data());
  writer.write({.name = "/y", .num_rows = 50, .row_shape = {4, 6}}, next.data());
  writer.commit();
  std::ofstream(files_.config) << "run: {dir: " << files_.run_dir << "}\n"
                               << "model:\n  input: [4]\n  layers:\n"
                               << "    - embedding: {input_dim: 6, output_dim: 8}\n"
                               << "    - dense: {units: 6}\n"
                               << "loss: mse\ndata:\n  train: {file: " << (folder_ / "rows.h5")
                               << ", inputs: /x, targets: /y}\n  global_batch_size: 10\n"
                               << "train: {epochs: 60, leaves: 1, threads: 1}\n"
                               << "optimizer: {name: adam, learning_rate: 0.05}\n"
                               << "log: {tensorboard: false}\n";
  (void)run_job(files_, {});
  for (const char* const prompt : {"c", "bc", "abcdéabc"}) {
    train::GenerateOptions o = options(prompt);
    o.vocabulary = folder_ / "text.h5";
    o.tokens = 7;
    o.sampling.temperature = 0.0;
    EXPECT_EQ(join(generate(o), ""), std::string(prompt) + "déabcdé");
  }
}

TEST_F(Generate, TheSameSeedGivesTheSameText) {
  (void)run_job(files_, {});
  train::GenerateOptions o = options("abcd");
  o.tokens = 200;
  o.sampling.temperature = 30.0;
  const std::string text = join(generate(o), "");
  EXPECT_EQ(join(generate(o), ""), text);
  o.sampling.seed = 1;
  EXPECT_NE(join(generate(o), ""), text);
}

TEST_F(Generate, RefusesPromptsItCannotRead) {
  (void)run_job(files_, {});
  EXPECT_THAT(
      refusal(options("abcQé\n")),
      HasSubstr("64: --prompt: byte 3: not in the vocabulary of 6 characters: 'Q' (U+0051), "
                "'\\n' (U+000A)"));
  EXPECT_THAT(refusal(options("")), HasSubstr("64: --prompt: expected some text"));
  EXPECT_THAT(refusal(options("abc")), HasSubstr("64: --prompt: expected at least 4 tokens"));
}

TEST_F(Generate, RefusesModelsThatWriteNoText) {
  (void)run_job(files_, {});
  const TempFolder other;
  train::GenerateOptions o = options("abcd");
  o.config_path = write_small_job(other, 47).config;
  o.vocabulary = folder_ / "text.h5";
  EXPECT_THAT(refusal(o), HasSubstr("78: model: expected one that takes tokens"));
  write_config("dense: {units: 5}");
  EXPECT_THAT(refusal(options("abcd")), HasSubstr("78: model: it knows 5 tokens, the vocabulary "
                                                  "has 6"));
}

TEST_F(Generate, RefusesModelsThatLookAhead) {
  (void)run_job(files_, {});
  train::GenerateOptions o = options("abcd");
  const auto said_of = [&](const std::string& layer) {
    o.overrides = {"model.layers=[{embedding: {input_dim: 6, output_dim: 8}}, " + layer +
                   ", {dense: {units: 6}}]"};
    return refusal(o);
  };
  EXPECT_THAT(said_of("{transformer_block: {heads: 2, name: seer}}"),
              HasSubstr("78: model: 'seer' looks ahead: its attention is not causal"));
  EXPECT_THAT(said_of("{bidirectional: {layer: {gru: {units: 3, return_sequences: true}}}}"),
              HasSubstr("looks ahead: it goes from the last position to the first"));
  EXPECT_THAT(said_of("{conv1d: {filters: 8, kernel_size: 3, padding: same}}"),
              HasSubstr("'conv1d_1' looks ahead: a convolution takes in later positions"));
}

TEST_F(Generate, NeedsAVocabularyAndACheckpoint) {
  (void)run_job(files_, {});
  train::GenerateOptions o = options("abcd");
  o.vocabulary = folder_ / "gone.h5";
  EXPECT_THAT(refusal(o), HasSubstr("66: "));
  o = options("abcd");
  o.checkpoint = folder_ / "nowhere";
  EXPECT_THAT(refusal(o), HasSubstr("66: "));
}

}  // namespace
}  // namespace dlt::train_test

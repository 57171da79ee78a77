// SPDX-License-Identifier: Apache-2.0
// gpt, lstm_lm: from token ids [T] to logits [T, vocabulary]
#include "base/text.h"
#include "nn/zoo.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 20;

}  // namespace

/// source  Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2):
///         pre-norm blocks, learned positions, GELU by tanh, tied embedding, normal start of 0.02
///         with residual projections divided by sqrt(2 layers)
std::string zoo_gpt(config::MapReader& options, const tensor::Shape& input) {
  const std::int64_t vocabulary = options.integer("vocabulary", {.min = 2, .max = INT32_MAX});
  const std::int64_t layers = options.integer("layers", {.min = 1, .max = 1024}, 12);
  const std::int64_t heads = options.integer("heads", {.min = 1, .max = 1024}, 12);
  const std::int64_t units = options.integer("units", {.min = 1, .max = kMaxWidth}, 768);
  const double dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.0);
  const bool use_bias = options.boolean("use_bias", true);
  const bool tied = options.boolean("tied", true);
  if (units % heads != 0) {
    options.error("heads",
                  cat("expected a divisor of model.units (", units, "), got '", heads, "'"));
  }
  const std::int64_t length = input.rank() == 0 ? 1 : input[0];
  const std::string normal = "{name: normal, stddev: 0.02}";
  std::string out =
      cat("- embedding: {name: tokens, input_dim: ", vocabulary, ", output_dim: ", units,
          ", embeddings_init: ", normal, "}\n", "- positional_embedding: {max_length: ", length,
          ", embeddings_init: ", normal, "}\n");
  if (dropout > 0) out += cat("- dropout: {rate: ", dropout, "}\n");
  for (std::int64_t i = 0; i < layers; ++i) {
    out += cat(
        "- transformer_block: {heads: ", heads, ", causal: true, dropout: ", dropout,
        ", activation: {name: gelu, approximate: tanh}, use_bias: ", use_bias ? "true" : "false",
        ", kernel_init: ", normal, ", residual_layers: ", layers, "}\n");
  }
  out += cat("- layer_norm: {center: ", use_bias ? "true" : "false", "}\n");
  return out + cat("- dense: {units: ", vocabulary, ", use_bias: false, ",
                   tied ? "tied_to: tokens" : cat("kernel_init: ", normal), "}\n");
}

std::string zoo_lstm_lm(config::MapReader& options, const tensor::Shape& /*input*/) {
  const std::int64_t vocabulary = options.integer("vocabulary", {.min = 2, .max = INT32_MAX});
  const std::int64_t layers = options.integer("layers", {.min = 1, .max = 64}, 1);
  const std::int64_t units = options.integer("units", {.min = 1, .max = kMaxWidth}, 256);
  const std::int64_t embedding = options.integer("embedding", {.min = 1, .max = kMaxWidth}, units);
  const double dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.0);
  std::string out =
      cat("- embedding: {input_dim: ", vocabulary, ", output_dim: ", embedding, "}\n");
  for (std::int64_t i = 0; i < layers; ++i) {
    if (dropout > 0) out += cat("- dropout: {rate: ", dropout, "}\n");
    out += cat("- lstm: {units: ", units, ", return_sequences: true}\n");
  }
  return out + cat("- dense: {units: ", vocabulary, "}\n");
}

}  // namespace dlt::nn

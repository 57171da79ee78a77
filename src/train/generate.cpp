// SPDX-License-Identifier: Apache-2.0
#include "train/generate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "nn/look_ahead.h"
#include "train/leaf_runner.h"
#include "train/model_state.h"

namespace dlt::train {
namespace {

/// The model's forward pass over the end of a text.
class NextToken {
 public:
  NextToken(const Surroundings& around, const RunConfig& config,
            const checkpoint::Checkpoint& checkpoint, std::int64_t num_tokens)
      : length_(config.model->input_shape()[0]),
        num_tokens_(num_tokens),
        a_position_(config.model->output_shape().rank() == 2),
        probabilities_(config.model->final_activation() == "softmax"),
        program_(program(around, config)),
        state_(program_.layout(), nullptr, around.backend),
        runner_(program_, around.leaf_device(config), state_.params(), {}, 0),
        input_(static_cast<std::size_t>(length_), 0) {
    load_for_use(config, checkpoint, state_);
  }

  /// Logits of what follows. tokens: not empty.
  std::span<const float> logits(const std::vector<std::int32_t>& tokens) {
    const std::int64_t count = std::min(length_, static_cast<std::int64_t>(tokens.size()));
    std::copy(tokens.end() - count, tokens.end(), input_.begin());
    (void)runner_.run({.count = 1,
                       .inputs = input_.data(),
                       .targets = nullptr,
                       .weights = &kWeight,
                       .sample_ids = kSample},
                      0, nullptr, nullptr);
    const tensor::View all = runner_.prediction();
    const std::int64_t width = all.type.shape.last();
    const auto* const row = all.as<float>() + (a_position_ ? (count - 1) * width : 0);
    // A model may know more tokens than the vocabulary has (rounded up); those are never drawn.
    logits_.assign(row, row + std::min(width, num_tokens_));
    if (probabilities_) {
      for (float& value : logits_) value = std::log(value);
    }
    return logits_;
  }

 private:
  static constexpr std::array<std::int64_t, 1> kSample{0};
  static constexpr float kWeight = 1;

  static autodiff::Program program(const Surroundings& around, const RunConfig& config) {
    autodiff::Graph graph(around.table);
    (void)config.model->build_prediction(graph, 1);
    return {std::move(graph), around.leaf_device(config)};
  }

  std::int64_t length_;
  std::int64_t num_tokens_;
  bool a_position_;
  bool probabilities_;
  autodiff::Program program_;
  ModelState state_;
  LeafRunner runner_;
  std::vector<std::int32_t> input_;
  std::vector<float> logits_;
};

/// A prompt shorter than the input is followed by padding, and what a position predicts is all
/// that training has shown; both make no sense where positions see those behind them.
void refuse_look_ahead(const autodiff::OpTable& table, const nn::Model& model) {
  autodiff::Graph graph(table);
  const nn::Built built = model.build_prediction(graph, 1);
  const auto look_ahead = nn::find_look_ahead(graph, built.input, built.prediction);
  if (!look_ahead) return;
  throw Error(
      Exit::config,
      cat("model: '", look_ahead->layer, "' looks ahead: ", look_ahead->reason,
          "; expected one whose logits at a position depend on the tokens up to it"),
      "causal: true in attention; recurrent layers in one direction, forwards; convolutions "
      "with padding: [dilation * (kernel_size - 1), 0]");
}

}  // namespace

GenerateJob::GenerateJob(const Surroundings& surroundings, const GenerateOptions& options)
    : around_(surroundings),
      options_(options),
      config_(read_run_config(options.config_path, options.overrides, surroundings.table,
                              surroundings.backend)),
      checkpoint_(checkpoint::load_any(options.checkpoint)),
      tokenizer_(data::read_vocabulary(options.vocabulary.empty() ? config_.train_data->file
                                                                  : options.vocabulary)) {
  check_model();
  if (options.prompt.empty()) {
    throw Error(Exit::usage, "--prompt: expected some text to go on from, got ''");
  }
  try {
    tokens_ = tokenizer_.encode(options.prompt, "--prompt");
  } catch (const Error& error) {
    throw Error(Exit::usage, error.what(), error.hint());  // no file is to blame
  }
  const std::int64_t length = config_.model->input_shape()[0];
  if (config_.model->output_shape().rank() == 1 &&
      static_cast<std::int64_t>(tokens_.size()) < length) {
    throw Error(Exit::usage, cat("--prompt: expected at least ", length,
                                 " tokens, as the model gives one "
                                 "prediction for a whole input of that length, got ",
                                 tokens_.size()));
  }
}

void GenerateJob::check_model() const {
  const nn::Model& model = *config_.model;
  if (model.num_tokens() == 0) {
    throw Error(Exit::config, "model: expected one that takes tokens, got one that takes numbers",
                "the first layer of a language model is an embedding");
  }
  const tensor::Shape &input = model.input_shape(), &output = model.output_shape();
  const bool fits =
      input.rank() == 1 && (output.rank() == 1 || (output.rank() == 2 && output[0] == input[0]));
  if (!fits) {
    throw Error(Exit::config,
                cat("model: expected logits of shape [", input[0],
                    ", tokens] or [tokens] for inputs ", input.text(), ", got ", output.text()));
  }
  if (output.rank() == 2) refuse_look_ahead(around_.table, model);
  const std::int64_t known = std::min(model.num_tokens(), output.last());
  if (known < tokenizer_.size()) {
    throw Error(Exit::config,
                cat("model: it knows ", known, " tokens, the vocabulary has ", tokenizer_.size()));
  }
}

void GenerateJob::run(const std::function<void(const std::string&)>& print) {
  around_.backend.enter_thread();
  NextToken model(around_, config_, checkpoint_, tokenizer_.size());
  TokenSampler sampler(options_.sampling);
  TextStream stream(options_.stop);
  std::vector<std::int32_t> tokens = tokens_;
  const auto kept = static_cast<std::size_t>(config_.model->input_shape()[0]);
  print(options_.prompt);
  for (std::int64_t i = 0; i < options_.tokens && !stream.stopped(); ++i) {
    if (tokens.size() > 2 * kept)
      tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(kept));
    tokens.push_back(sampler.draw(model.logits(tokens), i));
    const std::string text = stream.push(tokenizer_.bytes(tokens.back()));
    if (!text.empty()) print(text);
  }
  const std::string rest = stream.finish();
  if (!rest.empty()) print(rest);
}

}  // namespace dlt::train

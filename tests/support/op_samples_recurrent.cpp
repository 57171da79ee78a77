// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;

constexpr std::int64_t kSet = 1;

struct Sizes {
  std::int64_t batch, steps, units;
};

/// Collects the inputs of one sample and the attributes that say they are there.
struct Sample {
  OpSample sample;
  Sample(const std::string& op, const Attrs& attrs) : sample{op, {}, attrs} {}
  void input(tensor::Shape shape, Fill fill = Fill::normal) {
    sample.inputs.push_back({shape, fill});
  }
  void option(bool present, const char* name, const std::vector<SampleInput>& inputs) {
    if (!present) return;
    sample.attrs.set(name, kSet);
    sample.inputs.insert(sample.inputs.end(), inputs.begin(), inputs.end());
  }
};

struct Options {
  bool initial = false, masked = false;
  Attrs attrs = {};
};

std::vector<Options> all_options() {
  return {{},
          {.initial = true},
          {.masked = true},
          {.initial = true, .masked = true, .attrs = {{"reverse", kSet}}},
          {.attrs = {{"reverse", kSet}}},
          {.attrs = {{"precision", std::string("bf16")}}}};
}

SampleInput mask(const Sizes& s) { return {{s.batch, s.steps}, Fill::mask, 0, false}; }

/// Output 0 of lstm and gru is for the derivative alone: the states are what is differentiated.
void add_forward(std::vector<OpSample>& samples, const Sizes& s, const Options& options) {
  const SampleInput state{{s.batch, s.units}};
  Sample lstm("lstm", options.attrs);
  lstm.input({s.batch, s.steps, 4 * s.units});
  lstm.input({s.units, 4 * s.units});
  lstm.option(options.initial, "initial", {state, state});
  lstm.option(options.masked, "masked", {mask(s)});
  for (const std::size_t output : {1U, 2U, 3U}) {
    samples.push_back(lstm.sample);
    samples.back().output = output;
  }
  Sample gru("gru", options.attrs);
  gru.input({s.batch, s.steps, 3 * s.units});
  gru.input({s.units, 3 * s.units});
  gru.option(!options.initial || options.masked, "bias", {{{3 * s.units}}});
  gru.option(options.initial, "initial", {state});
  gru.option(options.masked, "masked", {mask(s)});
  for (const std::size_t output : {1U, 2U}) {
    samples.push_back(gru.sample);
    samples.back().output = output;
  }
  Sample simple("simple_rnn", options.attrs);
  simple.input({s.batch, s.steps, s.units});
  simple.input({s.units, s.units});
  simple.option(options.initial, "initial", {state});
  simple.option(options.masked, "masked", {mask(s)});
  for (const std::size_t output : {0U, 1U}) {
    samples.push_back(simple.sample);
    samples.back().output = output;
  }
  if (!options.initial) simple.sample.attrs.set("activation", std::string("relu"));
  samples.push_back(simple.sample);
}

void add_gradients(std::vector<OpSample>& samples, const Sizes& s, const Options& options) {
  const SampleInput state{{s.batch, s.units}};
  const SampleInput sequence{{s.batch, s.steps, s.units}};
  Sample lstm("lstm_grad", options.attrs);
  lstm.input({s.batch, s.steps, 4 * s.units}, Fill::probability);
  lstm.input({s.batch, s.steps, s.units});
  lstm.input({s.units, 4 * s.units});
  lstm.option(options.initial, "initial", {state});
  lstm.option(options.masked, "masked", {mask(s)});
  lstm.option(!options.masked, "dy", {sequence});
  lstm.option(options.initial || options.masked, "dlast_h", {state});
  lstm.option(options.initial, "dlast_c", {state});
  samples.push_back(lstm.sample);
  Sample gru("gru_grad", options.attrs);
  gru.input({s.batch, s.steps, 3 * s.units}, Fill::probability);
  for (int i = 0; i < 2; ++i) gru.sample.inputs.push_back(sequence);
  gru.input({s.units, 3 * s.units});
  gru.option(options.initial, "initial", {state});
  gru.option(options.masked, "masked", {mask(s)});
  gru.option(!options.masked, "dy", {sequence});
  gru.option(options.initial || options.masked, "dlast_h", {state});
  samples.push_back(gru.sample);
  Sample simple("simple_rnn_grad", options.attrs);
  simple.input({s.batch, s.steps, s.units}, Fill::probability);
  simple.input({s.units, s.units});
  if (options.initial) simple.sample.attrs.set("initial", kSet);
  simple.option(options.masked, "masked", {mask(s)});
  simple.option(!options.masked, "dy", {sequence});
  simple.option(options.initial || options.masked, "dlast_h", {state});
  samples.push_back(simple.sample);
  Sample weight("recurrent_weight_grad", options.attrs);
  weight.sample.inputs.push_back(sequence);
  weight.input({s.batch, s.steps, options.masked ? 3 * s.units : s.units + 6});
  weight.option(options.masked, "inner", {sequence});
  weight.option(options.initial, "initial", {state});
  samples.push_back(weight.sample);
}

}  // namespace

void add_recurrent_samples(std::vector<OpSample>& samples) {
  for (const Options& options : all_options()) add_forward(samples, {2, 4, 2}, options);
  for (const Options& options : all_options()) {
    for (const Sizes& sizes : {Sizes{2, 4, 5}, Sizes{11, 2, 19}, Sizes{1, 3, 1}}) {
      add_gradients(samples, sizes, options);
    }
  }
  for (const double value : {0.0, -1.0}) {
    samples.push_back({"time_mask", {{{2, 5, 4}, Fill::mask}}, {{"value", value}}});
    samples.push_back({"time_mask", {{{2, 21, 1}, Fill::mask}}, {{"value", value}}});
  }
}

}  // namespace dlt::support

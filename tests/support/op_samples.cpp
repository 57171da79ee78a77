// SPDX-License-Identifier: Apache-2.0
#include "support/op_samples.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/rng.h"
#include "base/text.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;

constexpr std::int64_t kYes = 1;
using Dims = std::vector<std::int64_t>;

SampleInput target(Shape shape, Fill fill = Fill::normal) { return {shape, fill, 0, false}; }
SampleInput labels(std::int64_t batch, std::int64_t num_classes) {
  return {{batch}, Fill::labels, num_classes, false};
}

void add_pointwise(std::vector<OpSample>& samples) {
  for (const char* op :
       {"relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "exp", "neg", "square", "abs"}) {
    samples.push_back({op, {{{3, 7}}}, {}});
    samples.push_back({op, {{{2, 3, 67}}}, {}});
  }
  samples.push_back({"gelu", {{{3, 7}}}, {{"approximate", std::string("tanh")}}});
  for (const char* op : {"log", "sqrt"}) samples.push_back({op, {{{3, 7}, Fill::positive}}, {}});
  samples.push_back({"leaky_relu", {{{3, 7}}}, {}});
  samples.push_back({"leaky_relu", {{{5, 9}}}, {{"alpha", 0.3}}});
  samples.push_back({"scale", {{{3, 7}}}, {{"factor", -1.5}}});
  samples.push_back({"scale", {{{3, 7}}}, {{"factor", 0.5}, {"offset", 2.0}}});
  for (const char* op : {"relu_grad", "tanh_grad", "silu_grad", "gelu_grad", "abs_grad"}) {
    samples.push_back({op, {{{3, 21}}, {{3, 21}}}, {}});
  }
  samples.push_back({"gelu_grad", {{{3, 7}}, {{3, 7}}}, {{"approximate", std::string("tanh")}}});
  samples.push_back({"leaky_relu_grad", {{{3, 7}}, {{3, 7}}}, {{"alpha", 0.3}}});
  samples.push_back({"sigmoid_grad", {{{3, 7}, Fill::probability}, {{3, 7}}}, {}});
  samples.push_back({"softplus_grad", {{{3, 7}, Fill::positive}, {{3, 7}}}, {}});
  for (const char* op : {"add", "sub", "mul"}) {
    samples.push_back({op, {{{3, 7}}, {{3, 7}}}, {}});
    samples.push_back({op, {{{131}}, {{131}}}, {}});
  }
  samples.push_back({"div", {{{3, 7}}, {{3, 7}, Fill::positive}}, {}});
}

void add_matmul(std::vector<OpSample>& samples) {
  samples.push_back({"matmul", {{{3, 5}}, {{5, 4}}}, {}});
  samples.push_back({"matmul", {{{5, 3}}, {{5, 4}}}, {{"trans_a", kYes}}});
  samples.push_back({"matmul", {{{3, 5}}, {{4, 5}}}, {{"trans_b", kYes}}});
  samples.push_back({"matmul", {{{5, 3}}, {{4, 5}}}, {{"trans_a", kYes}, {"trans_b", kYes}}});
  samples.push_back({"matmul", {{{1, 33}}, {{33, 1}}}, {}});
  samples.push_back({"bias_add", {{{3, 5}}, {{5}}}, {}});
  samples.push_back({"bias_add", {{{2, 3, 19}}, {{19}}}, {}});
  samples.push_back({"bias_grad", {{{3, 5}}}, {}});
  samples.push_back({"bias_grad", {{{2, 7, 35}}}, {}});
  for (const char* activation : {"none", "relu", "leaky_relu", "tanh", "sigmoid", "softplus"}) {
    const Attrs attrs{{"activation", std::string(activation)}, {"alpha", 0.2}};
    const std::string word = activation;
    const Fill output = word == "sigmoid"    ? Fill::probability
                        : word == "softplus" ? Fill::positive
                                             : Fill::normal;
    samples.push_back({"linear", {{{3, 5}}, {{5, 4}}, {{4}}}, attrs});
    samples.push_back({"linear", {{{9, 17}}, {{17, 21}}, {{21}}}, attrs});
    samples.push_back({"activation_bias_grad", {{{3, 4}, output}, {{3, 4}}}, attrs});
    samples.push_back({"activation_bias_grad", {{{9, 37}, output}, {{9, 37}}}, attrs});
  }
}

void add_cross_entropy(std::vector<OpSample>& samples) {
  const Attrs smooth{{"label_smoothing", 0.1}};
  samples.push_back({"softmax", {{{3, 7}}}, {}});
  samples.push_back({"softmax", {{{2, 2, 19}}}, {}});
  samples.push_back({"log_softmax", {{{3, 7}}}, {}});
  samples.push_back({"softmax_grad", {{{3, 7}, Fill::rows}, {{3, 7}}}, {}});
  samples.push_back({"log_softmax_grad", {{{3, 7}, Fill::log_rows}, {{3, 7}}}, {}});
  for (const Attrs& attrs : {Attrs{}, smooth}) {
    for (const SampleInput& labelling : {labels(3, 7), target({3, 7}, Fill::rows)}) {
      samples.push_back({"nll", {{{3, 7}, Fill::log_rows}, labelling}, attrs});
      samples.push_back({"nll_grad", {{{3, 7}, Fill::log_rows}, labelling, {{3}}}, attrs});
      samples.push_back({"softmax_cross_entropy", {{{3, 7}}, labelling}, attrs});
      samples.push_back({"softmax_cross_entropy_grad",
                         {{{3, 7}}, labelling, {{3}, Fill::positive}, {{3}}},
                         attrs});
    }
  }
}

void add_losses(std::vector<OpSample>& samples) {
  for (const char* op : {"mse_loss", "mae_loss", "huber_loss", "bce_with_logits_loss"}) {
    samples.push_back({op, {{{3, 7}}, target({3, 7})}, {}});
    samples.push_back({op, {{{4}}, target({4})}, {}});
    samples.push_back({std::string(op) + "_grad", {{{3, 2, 9}}, target({3, 2, 9}), {{3}}}, {}});
  }
  samples.push_back({"huber_loss", {{{3, 7}}, target({3, 7})}, {{"delta", 0.4}}});
  samples.push_back({"huber_loss_grad", {{{3, 7}}, target({3, 7}), {{3}}}, {{"delta", 0.4}}});
  const Attrs smooth{{"label_smoothing", 0.2}};
  samples.push_back({"bce_with_logits_loss", {{{3, 7}}, target({3, 7})}, smooth});
  samples.push_back({"bce_with_logits_loss_grad", {{{3, 7}}, target({3, 7}), {{3}}}, smooth});
  for (const Attrs& attrs : {Attrs{}, smooth}) {
    const SampleInput p{{3, 7}, Fill::probability};
    samples.push_back({"bce_loss", {p, target({3, 7}, Fill::probability)}, attrs});
    samples.push_back({"bce_loss_grad", {p, target({3, 7}, Fill::probability), {{3}}}, attrs});
  }
}

void add_others(std::vector<OpSample>& samples) {
  const std::int64_t layer = static_cast<std::int64_t>(rng::op_id("dropout_1"));
  samples.push_back({"dropout", {{{3, 4, 5}}}, {{"rate", 0.4}, {"op", layer}}});
  samples.push_back({"dropout", {{{5, 67}}}, {{"rate", 0.1}, {"op", layer}}});
  samples.push_back({"reshape", {{{3, 4}}}, {{"shape", Dims{2, 6}}}});
  samples.push_back({"copy", {{{3, 7}}}, {}});
  samples.push_back({"fill", {}, {{"shape", Dims{3, 7}}, {"value", 1.5}}});
  samples.push_back({"sum_rows", {{{3, 4, 5}}}, {}});
  samples.push_back({"sum_rows", {{{6}}}, {}});
}

double number(Fill fill, const rng::Key& key, std::uint64_t index) {
  switch (fill) {
    case Fill::normal:
      return static_cast<double>(rng::normal(key, index));
    case Fill::positive:
      return 0.1 + 2.0 * static_cast<double>(rng::uniform(key, index));
    case Fill::probability:
    case Fill::rows:
    case Fill::log_rows:
    case Fill::labels:
      return 0.02 + 0.96 * static_cast<double>(rng::uniform(key, index));
  }
  return 0;
}

template <typename T>
void fill(const SampleInput& input, const rng::Key& key, std::span<T> elements) {
  const auto n = static_cast<std::size_t>(input.shape.last());
  std::vector<double> row(n);
  for (std::size_t start = 0; start < elements.size(); start += n) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) sum += row[j] = number(input.fill, key, start + j);
    for (std::size_t j = 0; j < n; ++j) {
      if (input.fill == Fill::rows) row[j] /= sum;
      if (input.fill == Fill::log_rows) row[j] = std::log(row[j] / sum);
      elements[start + j] = static_cast<T>(row[j]);
    }
  }
}

}  // namespace

std::vector<OpSample> op_samples() {
  std::vector<OpSample> samples;
  add_pointwise(samples);
  add_matmul(samples);
  add_cross_entropy(samples);
  add_losses(samples);
  add_others(samples);
  return samples;
}

std::string text(const OpSample& sample) {
  std::vector<std::string> words;
  for (const SampleInput& input : sample.inputs) words.push_back(input.shape.text());
  std::string result = cat(sample.op, "(", join(words));
  for (const auto& attr : sample.attrs.values()) {
    result += cat(", ", attr.first);
    if (const auto* real = std::get_if<double>(&attr.second)) result += cat("=", *real);
    if (const auto* word = std::get_if<std::string>(&attr.second)) result += cat("=", *word);
  }
  return result + ")";
}

tensor::Tensor make_input(const OpSample& sample, std::size_t index, DType dtype,
                          std::uint64_t seed) {
  const SampleInput& input = sample.inputs[index];
  const rng::Key key{seed, rng::op_id(sample.op), index, 0};
  if (input.fill == Fill::labels) {
    tensor::Tensor tensor(input.shape, DType::i32);
    std::uint64_t i = 0;
    for (std::int32_t& label : tensor.as<std::int32_t>()) {
      label = static_cast<std::int32_t>(rng::block(key, static_cast<std::uint32_t>(i++))[0] %
                                        static_cast<std::uint32_t>(input.num_classes));
    }
    return tensor;
  }
  tensor::Tensor tensor(input.shape, dtype);
  if (dtype == DType::f32) {
    fill(input, key, tensor.as<float>());
  } else {
    fill(input, key, tensor.as<double>());
  }
  return tensor;
}

}  // namespace dlt::support

// SPDX-License-Identifier: Apache-2.0
#include "support/op_samples.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/rng.h"
#include "base/text.h"
#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

double number(Fill fill, const rng::Key& key, std::uint64_t index) {
  switch (fill) {
    case Fill::normal:
      return static_cast<double>(rng::normal(key, index));
    case Fill::positive:
      return 0.1 + 2.0 * static_cast<double>(rng::uniform(key, index));
    case Fill::mask:
      return rng::uniform(key, index) < 0.7f ? 1.0 : 0.0;
    case Fill::probability:
    case Fill::rows:
    case Fill::log_rows:
    case Fill::labels:
    case Fill::some_labels:
    case Fill::bytes:
    case Fill::weights:
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
      if (input.fill == Fill::weights) row[j] = j + 1 == n && n > 1 ? 0 : 1;
      if (input.fill == Fill::rows) row[j] /= sum;
      if (input.fill == Fill::log_rows) row[j] = std::log(row[j] / sum);
      elements[start + j] = static_cast<T>(row[j]);
    }
  }
}

/// Keeps 0 to n labels of each row.
void cut_rows(const rng::Key& key, std::int64_t n, tensor::Tensor& labels) {
  const std::span<std::int32_t> all = labels.as<std::int32_t>();
  for (std::size_t at = 0; at < all.size(); ++at) {
    const auto width = static_cast<std::size_t>(n);
    const double length =
        static_cast<double>(rng::uniform(key, 1000 + at / width)) * static_cast<double>(n + 1);
    if (static_cast<double>(at % width) >= std::floor(length)) all[at] = -1;
  }
}

}  // namespace

std::vector<OpSample> op_samples() {
  std::vector<OpSample> samples;
  add_attention_samples(samples);
  add_basic_samples(samples);
  add_conv_samples(samples);
  add_loss_samples(samples);
  add_sequence_loss_samples(samples);
  add_norm_samples(samples);
  add_pool_samples(samples);
  add_recurrent_samples(samples);
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
  if (input.fill == Fill::labels || input.fill == Fill::some_labels) {
    tensor::Tensor tensor(input.shape, DType::i32);
    std::uint64_t i = 0;
    for (std::int32_t& label : tensor.as<std::int32_t>()) {
      label = static_cast<std::int32_t>(rng::block(key, static_cast<std::uint32_t>(i++))[0] %
                                        static_cast<std::uint32_t>(input.num_classes));
    }
    if (input.fill == Fill::some_labels) cut_rows(key, input.shape.last(), tensor);
    return tensor;
  }
  if (input.fill == Fill::bytes) {
    tensor::Tensor tensor(input.shape, DType::u8);
    std::uint32_t i = 0;
    for (std::uint8_t& byte : tensor.as<std::uint8_t>()) {
      byte = static_cast<std::uint8_t>(rng::block(key, i++)[0] %
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

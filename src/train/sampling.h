// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dlt::train {

/// How a token is drawn from a model's logits. Filters apply in the order of the fields.
struct SamplingOptions {
  double temperature = 1.0;  // 0: the most likely token, always
  std::int64_t top_k = 0;    // only the k most likely; 0: all
  double top_p = 1.0;        // of these the most likely that together reach this probability
  std::uint64_t seed = 0;
};

/// Draws tokens. The number `index` of a text is a function of logits, options and index alone;
/// equally likely tokens stand in the order of their numbers.
class TokenSampler {
 public:
  explicit TokenSampler(const SamplingOptions& options) : options_(options) {}
  /// errors  Exit::numerics a logit is NaN, or none is finite
  [[nodiscard]] std::int32_t draw(std::span<const float> logits, std::int64_t index);

 private:
  SamplingOptions options_;
  std::vector<std::int32_t> order_;  // most likely first
  std::vector<double> weights_;
};

/// Bytes that come token by token to text that may be printed: whole characters, and nothing of
/// `stop` or after it.
class TextStream {
 public:
  explicit TextStream(std::string stop) : stop_(std::move(stop)) {}
  /// What may be printed now.
  [[nodiscard]] std::string push(std::string_view bytes);
  /// The rest, at the end.
  [[nodiscard]] std::string finish();
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  [[nodiscard]] std::size_t held_bytes() const;
  std::string stop_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#include "train/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"

namespace dlt::train {
namespace {

/// Uniform in [0, 1), 53 bits.
double uniform(std::uint64_t seed, std::int64_t index) {
  static const std::uint64_t kOp = rng::op_id("generate");
  const auto words =
      rng::block({.seed = seed, .op = kOp, .sample = static_cast<std::uint64_t>(index)}, 0);
  const std::uint64_t bits = (std::uint64_t{words[0]} << 32) | words[1];
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

/// Bytes at the end of text that begin a character of UTF-8 and do not end it.
std::size_t open_character_bytes(std::string_view text) {
  const std::size_t most = std::min<std::size_t>(3, text.size());
  for (std::size_t n = 1; n <= most; ++n) {
    const auto byte = static_cast<unsigned char>(text[text.size() - n]);
    if ((byte & 0xC0u) == 0x80u) continue;
    const std::size_t wanted = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return wanted > n ? n : 0;
  }
  return 0;
}

}  // namespace

std::int32_t TokenSampler::draw(std::span<const float> logits, std::int64_t index) {
  const auto nan =
      std::find_if(logits.begin(), logits.end(), [](float x) { return std::isnan(x); });
  const float largest = logits.empty() ? 0.0F : *std::max_element(logits.begin(), logits.end());
  if (nan != logits.end() || !std::isfinite(largest)) {
    throw Error(Exit::numerics, cat("generate: token ", index, ": the model gives ",
                                    nan != logits.end() ? "NaN" : "no finite number"));
  }
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (options_.temperature == 0.0) return *std::min_element(order_.begin(), order_.end(), before);
  const auto size = static_cast<std::int64_t>(order_.size());
  const std::int64_t keep = options_.top_k > 0 ? std::min(options_.top_k, size) : size;
  std::partial_sort(order_.begin(), order_.begin() + keep, order_.end(), before);
  order_.resize(static_cast<std::size_t>(keep));
  weights_.clear();
  double sum = 0.0;
  for (const std::int32_t token : order_) {
    const double x = static_cast<double>(logits[static_cast<std::size_t>(token)]);
    sum += std::exp((x - static_cast<double>(largest)) / options_.temperature);
    weights_.push_back(sum);  // running sums
  }
  const auto reached = std::lower_bound(weights_.begin(), weights_.end(), options_.top_p * sum);
  const auto last = std::min(reached, weights_.end() - 1);
  const auto at = std::upper_bound(weights_.begin(), last, uniform(options_.seed, index) * *last);
  return order_[static_cast<std::size_t>(at - weights_.begin())];
}

std::size_t TextStream::held_bytes() const {
  std::size_t held = open_character_bytes(pending_);
  const std::string_view text = pending_;
  for (std::size_t n = stop_.empty() ? 0 : std::min(stop_.size() - 1, text.size()); n > held; --n) {
    if (text.ends_with(std::string_view(stop_).substr(0, n))) held = n;
  }
  return held;
}

std::string TextStream::push(std::string_view bytes) {
  if (stopped_) return "";
  pending_ += bytes;
  const std::size_t found = stop_.empty() ? std::string::npos : pending_.find(stop_);
  stopped_ = found != std::string::npos;
  std::string out = pending_.substr(0, stopped_ ? found : pending_.size() - held_bytes());
  pending_.erase(0, stopped_ ? pending_.size() : out.size());
  return out;
}

std::string TextStream::finish() { return std::exchange(pending_, ""); }

}  // namespace dlt::train

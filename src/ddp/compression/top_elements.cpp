// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/top_elements.h"

#include <bit>

namespace dlt::ddp {

TopElements::TopElements(std::int64_t longest) : candidates_(static_cast<std::size_t>(longest)) {}

std::int64_t TopElements::buffer_bytes(std::int64_t longest) {
  return longest * static_cast<std::int64_t>(sizeof(std::uint32_t));
}

void TopElements::begin() {
  for (Histogram& histogram : histograms_) histogram.fill(0);
}

void TopElements::look_at(const float* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      ++histograms_[lane][bin_of(values[i + static_cast<std::int64_t>(lane)])];
    }
  }
}

std::uint32_t TopElements::threshold_bin(std::int64_t k) {
  count_above_ = 0;
  for (std::uint32_t bin = kBins - 1; bin > 0; --bin) {
    std::int64_t here = 0;
    for (const Histogram& histogram : histograms_) here += histogram[bin];
    if (count_above_ + here >= k) return bin;
    count_above_ += here;
  }
  return 0;
}

void TopElements::pick(const float* values, std::int64_t num_candidates, std::int64_t wanted) {
  const auto magnitude = [&](std::uint32_t place) {
    return std::bit_cast<std::uint32_t>(values[place]) & 0x7fffffffU;
  };
  const auto larger = [&](std::uint32_t a, std::uint32_t b) {
    return magnitude(a) != magnitude(b) ? magnitude(a) > magnitude(b) : a < b;
  };
  if (wanted >= num_candidates) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + wanted,
                   candidates_.begin() + num_candidates, larger);
}

}  // namespace dlt::ddp

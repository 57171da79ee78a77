// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::data {

/// A keyed bijection of [0, size): the k-th sample of an epoch is computed, not stored. A balanced
/// Feistel network over the next even number of bits, with cycle walking. O(1) to seek.
/// source: Luby & Rackoff 1988; Black & Rogaway 2002 for cycle walking.
class Permutation {
 public:
  Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t epoch);
  [[nodiscard]] std::int64_t operator()(std::int64_t index) const;

 private:
  std::uint64_t size_;
  int half_bits_ = 0;
  std::uint64_t keys_[6] = {};
};

}  // namespace dlt::data

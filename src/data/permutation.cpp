// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.h"

#include "base/error.h"
#include "base/rng.h"

namespace dlt::data {
namespace {

constexpr std::uint64_t kPermutationStream = 0x7065726d75746174ull;  // "permutat"

/// Round function: two odd multiplications, the upper bits folded down. Keys make it differ.
std::uint64_t mix_half(std::uint64_t half, std::uint64_t key) {
  std::uint64_t x = (half ^ key) * 0x9E3779B97F4A7C15ull;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93ull;
  return x >> 32;
}

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t epoch)
    : size_(static_cast<std::uint64_t>(size)) {
  DLT_CHECK(size >= 1, "a permutation needs at least one element");
  half_bits_ = 1;
  while (half_bits_ < 31 && (std::uint64_t{1} << (2 * half_bits_)) < size_) ++half_bits_;
  DLT_CHECK(size_ <= (std::uint64_t{1} << (2 * half_bits_)), "more than 2^62 elements");
  std::uint64_t state = rng::mix(rng::mix(seed ^ kPermutationStream) + epoch);
  for (std::uint64_t& key : keys_) {
    state = rng::mix(state);
    key = state;
  }
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t x = static_cast<std::uint64_t>(index);
  // The network permutes [0, 4^half_bits); walking its cycle until it is back inside [0, size)
  // permutes that. At most 4 tries are expected, since size > a quarter of the network's domain.
  do {
    std::uint64_t left = x >> half_bits_;
    std::uint64_t right = x & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = (left ^ mix_half(right, key)) & mask;
      left = right;
      right = next;
    }
    x = (left << half_bits_) | right;
  } while (x >= size_);
  return static_cast<std::int64_t>(x);
}

}  // namespace dlt::data

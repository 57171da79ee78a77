// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace dlt::rng {

namespace {

/// A block has four words and its index 32 bits.
std::uint32_t block_of(std::uint64_t index) {
  DLT_CHECK(index >> 34 == 0, "a random stream has 2^34 elements");
  return static_cast<std::uint32_t>(index / 4);
}

}  // namespace

std::uint64_t op_id(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3ull;
  }
  return mix(hash);
}

float uniform(const Key& key, std::uint64_t index) {
  return to_unit(block(key, block_of(index))[index % 4]);
}

float normal(const Key& key, std::uint64_t index) {
  // Words 0 and 1 of a block give elements 0 (cosine) and 1 (sine), words 2 and 3 the other two.
  const auto words = block(key, block_of(index));
  const std::size_t first = index % 4 < 2 ? 0 : 2;
  const double u = (static_cast<double>(words[first]) + 1.0) * 0x1.0p-32;  // (0, 1]: log is finite
  const double angle = static_cast<double>(words[first + 1]) * (2.0 * std::numbers::pi * 0x1.0p-32);
  const double radius = std::sqrt(-2.0 * std::log(u));
  return static_cast<float>(radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle)));
}

}  // namespace dlt::rng

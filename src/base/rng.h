// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: every number is a pure function of its key. No state anywhere, so
// results depend on neither rank, thread nor order, and a resumed run draws what an undisturbed one
// does. What is constexpr runs on devices, too.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dlt::rng {

/// Philox4x32-10. source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox4x32(
    std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// SplitMix64 finaliser: a bijection of 64-bit numbers that mixes all bits.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// What a random number belongs to. `op` tells apart the users of randomness: use
/// op_id("dropout_1").
struct Key {
  std::uint64_t seed = 0;
  std::uint64_t op = 0;
  std::uint64_t epoch = 0;
  std::uint64_t sample = 0;
};

/// A stable 64-bit id of a name (FNV-1a, then mixed).
[[nodiscard]] std::uint64_t op_id(std::string_view name);

/// Four random words: number `index` of the stream of `key`.
/// counter = {index, epoch, sample low, sample high}, philox key = mix(seed ^ mix(op)).
[[nodiscard]] constexpr std::array<std::uint32_t, 4> block(const Key& key, std::uint32_t index) {
  const std::uint64_t k = mix(key.seed ^ mix(key.op));
  return philox4x32(
      {index, static_cast<std::uint32_t>(key.epoch), static_cast<std::uint32_t>(key.sample),
       static_cast<std::uint32_t>(key.sample >> 32)},
      {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)});
}

/// Uniform in [0, 1): the upper 24 bits of the word.
[[nodiscard]] constexpr float to_unit(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1.0p-24f;
}

/// Element `index` of the stream, uniform in [0, 1): word index % 4 of block index / 4.
[[nodiscard]] float uniform(const Key& key, std::uint64_t index);
/// Element `index` of the stream, standard normal (Box-Muller on two words, in f64).
[[nodiscard]] float normal(const Key& key, std::uint64_t index);

}  // namespace dlt::rng

// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/top_elements.h"

#include <bit>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::ddp {
namespace {

std::vector<std::uint32_t> chosen(TopElements& top, const std::vector<float>& values,
                                  std::int64_t k) {
  std::vector<std::uint32_t> places;
  const auto count = static_cast<std::int64_t>(values.size());
  top.begin();
  top.look_at(values.data(), count);
  top.choose(values.data(), count, k, [&](std::uint32_t place) { places.push_back(place); });
  std::sort(places.begin(), places.end());
  return places;
}

/// By sorting all of them.
std::vector<std::uint32_t> expected(const std::vector<float>& values, std::int64_t k) {
  std::vector<std::uint32_t> places(values.size());
  std::iota(places.begin(), places.end(), 0U);
  std::stable_sort(places.begin(), places.end(), [&](std::uint32_t a, std::uint32_t b) {
    return (std::bit_cast<std::uint32_t>(values[a]) & 0x7fffffffU) >
           (std::bit_cast<std::uint32_t>(values[b]) & 0x7fffffffU);
  });
  places.resize(static_cast<std::size_t>(k));
  std::sort(places.begin(), places.end());
  return places;
}

TEST(TopElements, AreThoseOfASort) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  TopElements top(4096);
  for (int round = 0; round < 60; ++round) {
    std::vector<float> values(16 * (1 + random() % 256));
    std::normal_distribution<float> normal;
    for (float& value : values) {
      value = normal(random);
      if (round % 3 == 0) value = std::round(value * 2);  // many ties and zeros
    }
    if (round % 5 == 0) values[random() % values.size()] = std::numeric_limits<float>::quiet_NaN();
    const auto k = static_cast<std::int64_t>(1 + random() % values.size());
    EXPECT_EQ(chosen(top, values, k), expected(values, k))
        << "seed " << seed << ", round " << round;
  }
}

TEST(TopElements, OfEqualOnesTheFirst) {
  TopElements top(64);
  EXPECT_EQ(chosen(top, std::vector<float>(64, 0.0F), 3), (std::vector<std::uint32_t>{0, 1, 2}));
  std::vector<float> values(64, -1.0F);
  values[40] = 1.5F;
  EXPECT_EQ(chosen(top, values, 3), (std::vector<std::uint32_t>{0, 1, 40}));
}

}  // namespace
}  // namespace dlt::ddp

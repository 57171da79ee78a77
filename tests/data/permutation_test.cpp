// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::data {
namespace {

bool is_bijection(std::int64_t size, std::uint64_t seed, std::uint64_t epoch) {
  const Permutation permutation(size, seed, epoch);
  std::vector<bool> seen(static_cast<std::size_t>(size), false);
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t to = permutation(i);
    if (to < 0 || to >= size || seen[static_cast<std::size_t>(to)]) return false;
    seen[static_cast<std::size_t>(to)] = true;
  }
  return true;
}

std::int64_t common_places(const Permutation& a, const Permutation& b, std::int64_t size) {
  std::int64_t equal = 0;
  for (std::int64_t i = 0; i < size; ++i) equal += a(i) == b(i) ? 1 : 0;
  return equal;
}

TEST(Permutation, IsABijectionForEverySizeUpTo2000) {
  for (std::int64_t size = 1; size <= 2000; ++size) {
    ASSERT_TRUE(is_bijection(size, 7, static_cast<std::uint64_t>(size % 5))) << size;
  }
}

TEST(Permutation, IsABijectionForLargeRandomSizes) {
  const auto seed = static_cast<std::uint64_t>(std::random_device{}());
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 4; ++i) {
    const auto size = static_cast<std::int64_t>(random() % 1000000 + 1);
    ASSERT_TRUE(is_bijection(size, random(), random())) << size;
  }
}

TEST(Permutation, StaysInRangeForHugeSizes) {
  for (const std::int64_t size :
       {(std::int64_t{1} << 40) + 1, (std::int64_t{1} << 62) - 1, std::int64_t{1} << 62}) {
    const Permutation permutation(size, 1, 2);
    for (std::int64_t i = 0; i < 100; ++i) {
      const std::int64_t to = permutation(size - 1 - i);
      ASSERT_GE(to, 0);
      ASSERT_LT(to, size);
    }
  }
}

TEST(Permutation, EpochsAndSeedsDiffer) {
  const std::int64_t size = 10000;
  const Permutation a(size, 1, 0), next_epoch(size, 1, 1), next_seed(size, 2, 0);
  // Two random orders agree in one place on average.
  EXPECT_LT(common_places(a, next_epoch, size), 12);
  EXPECT_LT(common_places(a, next_seed, size), 12);
  EXPECT_LT(common_places(next_epoch, next_seed, size), 12);
}

TEST(Permutation, IsTheSameForTheSameKey) {
  const Permutation a(1437, 1, 3), b(1437, 1, 3);
  EXPECT_EQ(common_places(a, b, 1437), 1437);
}

// Chi-square over (place / 10, value / 10) cells: an order that leans anywhere shows here.
TEST(Permutation, SpreadsPlacesEvenlyOverEpochs) {
  const std::int64_t size = 100;
  std::vector<double> cells(100, 0.0);
  const int epochs = 2000;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const Permutation permutation(size, 5, static_cast<std::uint64_t>(epoch));
    for (std::int64_t i = 0; i < size; ++i) {
      cells[static_cast<std::size_t>(i / 10 * 10 + permutation(i) / 10)] += 1.0;
    }
  }
  const double expected = static_cast<double>(epochs) * 100 / 100;
  double chi_square = 0.0;
  for (const double count : cells) chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 81 + 5 * std::sqrt(2.0 * 81));
}

// Every order of three samples must turn up, about equally often.
TEST(Permutation, ReachesEveryOrderOfThree) {
  std::vector<int> seen(27, 0);
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) {
    const Permutation p(3, 11, epoch);
    ++seen[static_cast<std::size_t>(p(0) * 9 + p(1) * 3 + p(2))];
  }
  int orders = 0;
  for (const int count : seen) {
    if (count == 0) continue;
    ++orders;
    EXPECT_NEAR(count, 1000, 150);
  }
  EXPECT_EQ(orders, 6);
}

TEST(Permutation, KeepsItsOrderForEver) {
  // A checkpoint continues in the order it began with: these numbers must never change.
  const Permutation permutation(1437, 1, 0);
  const std::vector<std::int64_t> first = {permutation(0), permutation(1), permutation(2),
                                           permutation(3)};
  EXPECT_EQ(first, (std::vector<std::int64_t>{330, 1025, 697, 588}));
}

}  // namespace
}  // namespace dlt::data

// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt::rng {
namespace {

using Words = std::array<std::uint32_t, 4>;

TEST(Philox, MatchesTheKnownAnswersOfRandom123) {
  // kat_vectors of Random123: "philox4x32 10 <counter> <key> <result>"
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Mix, MatchesSplitMix64) {
  // The first two outputs of Vigna's splitmix64.c started at 0.
  EXPECT_EQ(mix(0), 0xe220a8397b1dcdafull);
  EXPECT_EQ(mix(0x9e3779b97f4a7c15ull), 0x6e789e6aa1b965f4ull);
}

TEST(Key, EveryPartChangesTheStream) {
  const Key base{.seed = 1, .op = op_id("dropout_1"), .epoch = 2, .sample = 3};
  std::set<Words> blocks{block(base, 0), block(base, 1)};
  Key other = base;
  other.seed = 2;
  blocks.insert(block(other, 0));
  other = base;
  other.op = op_id("dropout_2");
  blocks.insert(block(other, 0));
  other = base;
  other.epoch = 3;
  blocks.insert(block(other, 0));
  other = base;
  other.sample = 4;
  blocks.insert(block(other, 0));
  other.sample = 3 + (std::uint64_t{1} << 32);
  blocks.insert(block(other, 0));
  EXPECT_EQ(blocks.size(), 7u);
}

TEST(OpId, IsStableAcrossVersions) {
  EXPECT_EQ(op_id(""), mix(0xcbf29ce484222325ull));   // the FNV-1a offset basis
  EXPECT_EQ(op_id("a"), mix(0xaf63dc4c8601ec8cull));  // FNV-1a of "a"
  EXPECT_NE(op_id("ab"), op_id("ba"));
}

TEST(Uniform, IsElementOfItsBlockInTheUnitInterval) {
  const Key key{.seed = 9};
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const float u = uniform(key, i);
    EXPECT_EQ(u, to_unit(block(key, static_cast<std::uint32_t>(i / 4))[i % 4]));
    EXPECT_GE(u, 0.0f);
    EXPECT_LT(u, 1.0f);
  }
  EXPECT_LT(to_unit(0xffffffffu), 1.0f);
  EXPECT_EQ(to_unit(0x80000000u), 0.5f);
}

TEST(Uniform, RefusesAnIndexBeyondTheStream) {
  EXPECT_NO_THROW((void)uniform({}, (std::uint64_t{1} << 34) - 1));
  EXPECT_THROW((void)uniform({}, std::uint64_t{1} << 34), Error);
}

TEST(Uniform, FillsAllBinsEvenly) {
  constexpr int kBins = 64;
  constexpr int kDraws = 1 << 16;
  int counts[kBins] = {};
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<int>(uniform({.seed = 5}, i) * kBins)];
  }
  double chi_square = 0;
  constexpr double kExpected = static_cast<double>(kDraws) / kBins;
  for (const int count : counts)
    chi_square += (count - kExpected) * (count - kExpected) / kExpected;
  EXPECT_LT(chi_square, 120.0);  // 63 degrees of freedom: mean 63, deviation 11
  EXPECT_GT(chi_square, 25.0);
}

TEST(Normal, HasTheMomentsOfTheStandardNormal) {
  constexpr int kDraws = 1 << 17;
  double sum = 0, square = 0, cube = 0, fourth = 0, neighbours = 0, last = 0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double x = static_cast<double>(normal({.seed = 6}, i));
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    square += x * x;
    cube += x * x * x;
    fourth += x * x * x * x;
    neighbours += x * last;
    last = x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.015);
  EXPECT_NEAR(square / kDraws, 1.0, 0.02);
  EXPECT_NEAR(cube / kDraws, 0.0, 0.04);
  EXPECT_NEAR(fourth / kDraws, 3.0, 0.12);
  EXPECT_NEAR(neighbours / kDraws, 0.0, 0.015);
}

}  // namespace
}  // namespace dlt::rng

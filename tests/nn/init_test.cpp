// SPDX-License-Identifier: Apache-2.0
#include "nn/init.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"

namespace dlt::nn {
namespace {

std::vector<float> initialized(const std::vector<ParamSpec>& specs, std::uint64_t seed) {
  tensor::FlatLayout layout;
  for (const ParamSpec& spec : specs) layout.append(spec.name, spec.shape);
  std::vector<float> flat(static_cast<std::size_t>(layout.total), NAN);
  initialize(layout, specs, seed, flat.data());
  return flat;
}

struct Moments {
  double mean = 0, stddev = 0, largest = 0;
};

Moments moments_of(const Init& init) {
  const std::vector<float> values = initialized({{"w", {400, 300}, init}}, 7);
  Moments result;
  double squares = 0;
  for (const float value : values) {
    const auto x = static_cast<double>(value);
    result.mean += x;
    squares += x * x;
    result.largest = std::max(result.largest, std::abs(x));
  }
  const auto count = static_cast<double>(values.size());
  result.mean /= count;
  result.stddev = std::sqrt(squares / count - result.mean * result.mean);
  return result;
}

void expect_uniform(InitKind kind, double limit) {
  const Moments got = moments_of({.kind = kind, .fan_in = 400, .fan_out = 300});
  EXPECT_NEAR(got.mean, 0, 0.01 * limit);
  EXPECT_NEAR(got.stddev, limit / std::sqrt(3.0), 0.01 * limit);
  EXPECT_LE(got.largest, limit);
  EXPECT_GT(got.largest, 0.999 * limit);
}

void expect_normal(InitKind kind, double stddev) {
  const Moments got = moments_of({.kind = kind, .fan_in = 400, .fan_out = 300, .stddev = stddev});
  EXPECT_NEAR(got.mean, 0, 0.02 * stddev);
  EXPECT_NEAR(got.stddev, stddev, 0.01 * stddev);
  EXPECT_GT(got.largest, 3 * stddev);
}

TEST(Init, UniformKindsFillTheirLimits) {
  expect_uniform(InitKind::glorot_uniform, std::sqrt(6.0 / 700));
  expect_uniform(InitKind::he_uniform, std::sqrt(6.0 / 400));
}

TEST(Init, NormalKindsHaveTheirDeviation) {
  expect_normal(InitKind::glorot_normal, std::sqrt(2.0 / 700));
  expect_normal(InitKind::he_normal, std::sqrt(2.0 / 400));
  expect_normal(InitKind::normal, 0.02);
}

TEST(Init, ConstantsAreConstant) {
  EXPECT_EQ(initialized({{"b", {16}, {.kind = InitKind::zeros}}}, 1), std::vector<float>(16, 0.0f));
  EXPECT_EQ(initialized({{"b", {16}, {.kind = InitKind::ones}}}, 1), std::vector<float>(16, 1.0f));
}

TEST(Init, UniformValuesAreThoseOfTheKeyedStream) {
  const Init init{.kind = InitKind::he_uniform, .fan_in = 6};  // limit 1
  const std::vector<float> got = initialized({{"dense_1.weight", {1003}, init}}, 42);
  const rng::Key key{.seed = 42, .op = rng::op_id("dense_1.weight")};
  for (std::size_t i = 0; i < 1003; ++i) EXPECT_EQ(got[i], 2 * rng::uniform(key, i) - 1) << i;
}

TEST(Init, NormalValuesAreThoseOfTheKeyedStream) {
  const Init init{.kind = InitKind::normal, .stddev = 0.5};
  const std::vector<float> got = initialized({{"dense_1.weight", {37}, init}}, 42);
  const rng::Key key{.seed = 42, .op = rng::op_id("dense_1.weight")};
  for (std::size_t i = 0; i < 37; ++i) EXPECT_EQ(got[i], 0.5f * rng::normal(key, i)) << i;
}

TEST(Init, AnotherLayerLeavesTheOthersAlone) {
  const Init init{.kind = InitKind::glorot_uniform, .fan_in = 10, .fan_out = 10};
  const std::vector<float> alone = initialized({{"dense_1.weight", {32}, init}}, 3);
  const std::vector<float> beside =
      initialized({{"dense_9.weight", {7}, init}, {"dense_1.weight", {32}, init}}, 3);
  EXPECT_EQ(std::vector<float>(beside.begin() + 16, beside.end()), alone);
}

TEST(Init, SeedAndNameChangeTheValues) {
  const Init init{.kind = InitKind::glorot_uniform};
  const std::vector<float> first = initialized({{"a", {16}, init}}, 1);
  EXPECT_NE(initialized({{"a", {16}, init}}, 2), first);
  EXPECT_NE(initialized({{"b", {16}, init}}, 1), first);
  EXPECT_EQ(initialized({{"a", {16}, init}}, 1), first);
}

TEST(Init, GapsAreZero) {
  const std::vector<float> got =
      initialized({{"a", {3}, {.kind = InitKind::ones}}, {"b", {17}, {.kind = InitKind::ones}}}, 1);
  ASSERT_EQ(got.size(), 48u);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i], i < 3 || (i >= 16 && i < 33) ? 1.0f : 0.0f) << i;
  }
}

TEST(Init, ALayoutOfAnotherModelIsABug) {
  tensor::FlatLayout layout;
  layout.append("a", {4});
  std::vector<float> flat(16, 0.0f);
  EXPECT_THROW(initialize(layout, {}, 1, flat.data()), Error);
  EXPECT_THROW(initialize(layout, {{"a", {5}, {}}}, 1, flat.data()), Error);
}

}  // namespace
}  // namespace dlt::nn

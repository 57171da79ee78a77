// SPDX-License-Identifier: Apache-2.0
#include "train/sampling.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt::train {
namespace {

const std::vector<float> kLogits{0.0F, 2.0F, 1.0F, 2.0F, -1.0F};

/// How often each token comes in `draws` draws.
std::vector<double> shares(const std::vector<float>& logits, const SamplingOptions& options,
                           int draws = 20000) {
  TokenSampler sampler(options);
  std::vector<double> out(logits.size(), 0.0);
  for (int i = 0; i < draws; ++i) {
    out[static_cast<std::size_t>(sampler.draw(logits, i))] += 1.0 / draws;
  }
  return out;
}

TEST(TokenSampler, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  TokenSampler sampler({.temperature = 0.0});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(sampler.draw(kLogits, i), 1);
}

TEST(TokenSampler, DrawsInProportionToTheProbabilities) {
  for (const double temperature : {0.5, 1.0, 3.0}) {
    const std::vector<double> got = shares(kLogits, {.temperature = temperature, .seed = 4});
    double sum = 0.0;
    for (const float x : kLogits) sum += std::exp(static_cast<double>(x) / temperature);
    for (std::size_t i = 0; i < kLogits.size(); ++i) {
      const double expected = std::exp(static_cast<double>(kLogits[i]) / temperature) / sum;
      EXPECT_NEAR(got[i], expected, 0.015) << temperature << " token " << i;
    }
  }
}

TEST(TokenSampler, TopKKeepsTheLikeliest) {
  const std::vector<double> got = shares(kLogits, {.top_k = 3});
  EXPECT_EQ(got[0], 0.0);
  EXPECT_EQ(got[4], 0.0);
  EXPECT_GT(got[2], 0.1);
  EXPECT_NEAR(shares(kLogits, {.top_k = 1})[1], 1.0, 1e-9) << "equals stand in their order";
  EXPECT_GT(shares(kLogits, {.top_k = 100})[4], 0.0);
}

TEST(TokenSampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.38, 0.38, 0.14, 0.05 ... of tokens 1, 3, 2, 0.
  const std::vector<double> half = shares(kLogits, {.top_p = 0.5});
  EXPECT_NEAR(half[1], 0.5, 0.02);
  EXPECT_NEAR(half[3], 0.5, 0.02);
  EXPECT_EQ(half[2], 0.0);
  EXPECT_NEAR(shares(kLogits, {.top_p = 1e-9})[1], 1.0, 1e-9);
  const std::vector<double> most = shares(kLogits, {.top_p = 0.85});
  EXPECT_GT(most[2], 0.1);
  EXPECT_EQ(most[0], 0.0);
}

TEST(TokenSampler, DependsOnSeedAndIndexAlone) {
  const std::vector<float> even(64, 0.0F);
  TokenSampler a({.seed = 1}), b({.seed = 1}), other({.seed = 2});
  std::vector<std::int32_t> forward, backward(32), differing;
  for (int i = 0; i < 32; ++i) forward.push_back(a.draw(even, i));
  for (int i = 31; i >= 0; --i) backward[static_cast<std::size_t>(i)] = b.draw(even, i);
  for (int i = 0; i < 32; ++i) differing.push_back(other.draw(even, i));
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, differing);
}

TEST(TokenSampler, RefusesWhatIsNoDistribution) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  TokenSampler sampler({});
  for (const auto& bad : {std::vector<float>{0, kNan}, {kInf, 0}, {-kInf, -kInf}}) {
    try {
      (void)sampler.draw(bad, 7);
      ADD_FAILURE() << "drew from it";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::numerics);
      EXPECT_NE(std::string(error.what()).find("token 7"), std::string::npos);
    }
  }
  const std::vector<float> masked{-kInf, 0.0F};
  EXPECT_EQ(sampler.draw(masked, 0), 1);
}

TEST(TextStream, KeepsCharactersWhole) {
  TextStream stream("");
  EXPECT_EQ(stream.push("a\xC3"), "a");
  EXPECT_EQ(stream.push("\xA9"), "é");
  EXPECT_EQ(stream.push("\xF0\x9F"), "");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80!"), "😀!");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xE2\x82");
}

TEST(TextStream, LetsBytesThroughThatAreNoCharacter) {
  TextStream stream("");
  EXPECT_EQ(stream.push("\xFFx\x80\x80\x80\x80"), "\xFFx\x80\x80\x80\x80");
}

TEST(TextStream, EndsBeforeTheStop) {
  TextStream stream("END");
  EXPECT_EQ(stream.push("one E"), "one ");
  EXPECT_EQ(stream.push("N"), "");
  EXPECT_EQ(stream.push("E"), "EN");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.push("NDmore"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.push("more"), "");
  EXPECT_EQ(stream.finish(), "");
  TextStream other("END");
  EXPECT_EQ(other.push("xEN"), "x");
  EXPECT_EQ(other.finish(), "EN");
}

}  // namespace
}  // namespace dlt::train

// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/dtype.h"
#include "base/rng.h"
#include "ddp/compression/block_codec.h"

namespace dlt::ddp {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> decoded(const BlockCodec& codec, const std::vector<float>& values,
                           std::vector<float>* residual = nullptr) {
  const auto count = static_cast<std::int64_t>(values.size());
  std::vector<std::byte> bytes(static_cast<std::size_t>(codec.encoded_bytes(count)) + 1);
  bytes.back() = std::byte{77};
  codec.encode(values.data(), count, bytes.data(), residual ? residual->data() : nullptr);
  EXPECT_EQ(bytes.back(), std::byte{77}) << "more bytes than encoded_bytes()";
  std::vector<float> out(values.size());
  codec.decode(bytes.data(), count, out.data());
  // decode_add is decode and one addition.
  std::vector<float> sum(values.size(), 0.5F);
  codec.decode_add(bytes.data(), count, sum.data());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    EXPECT_TRUE(std::isnan(out[i]) || sum[i] == 0.5F + out[i]) << i;
  }
  return out;
}

/// Normal numbers times 10^magnitude.
std::vector<float> random_values(std::size_t count, float factor, std::uint64_t sample = 0) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = factor * rng::normal({.seed = 11, .op = 4, .sample = sample}, i);
  }
  return values;
}

TEST(Codec, Bf16RoundsToNearestEven) {
  std::vector<float> values = random_values(1024, 1e-3F);
  const std::vector<float> special{0.0F,
                                   -0.0F,
                                   1e-45F,
                                   kInfinity,
                                   -kInfinity,
                                   kNan,
                                   std::bit_cast<float>(0x7f800001U),
                                   1.00390625F,
                                   1.01171875F};
  std::copy(special.begin(), special.end(), values.begin());
  const std::vector<float> out = decoded(*make_bf16_codec(), values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float expected = bf16_to_f32(f32_to_bf16(values[i]));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(out[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected)) << i;
    }
  }
}

TEST(Codec, Fp16HasElevenBitsAtAnyMagnitudeAndNeverOverflows) {
  for (const float factor : {1e-36F, 1e-12F, 1.0F, 1e12F, 5e37F}) {
    const std::vector<float> values = random_values(2048 + 16, factor);
    const std::vector<float> out = decoded(*make_fp16_codec(), values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(std::isfinite(out[i])) << values[i];
      const float bound = std::max(std::abs(values[i]) * 0x1.0p-11F, factor * 1e-7F);
      ASSERT_LE(std::abs(out[i] - values[i]), bound) << values[i];
    }
  }
  // What rounds to a number that f32 has.
  std::vector<float> largest(16, 0x1.ffcp127F);
  EXPECT_TRUE(std::isfinite(decoded(*make_fp16_codec(), largest)[3]));
}

TEST(Codec, Int8IsWithinHalfAStepOfItsBlockAndTheResidualIsTheRest) {
  for (const std::int64_t block : {16, 256, 4096}) {
    for (const float factor : {1e-30F, 1.0F, 1e30F}) {
      const std::vector<float> values = random_values(8192 + 48, factor);
      std::vector<float> residual(values.size(), -1.0F);
      const auto codec = make_int8_codec(block);
      const std::vector<float> out = decoded(*codec, values, &residual);
      for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(block)) {
        const std::size_t end = std::min(values.size(), at + static_cast<std::size_t>(block));
        float largest = 0;
        for (std::size_t i = at; i < end; ++i) largest = std::max(largest, std::abs(values[i]));
        for (std::size_t i = at; i < end; ++i) {
          ASSERT_LE(std::abs(out[i] - values[i]), largest / 127 * 0.5001F) << i;
          ASSERT_EQ(residual[i], values[i] - out[i]) << i;
        }
      }
    }
  }
}

TEST(Codec, Int8KeepsZerosAndCountsSubnormalBlocksAsZeros) {
  std::vector<float> values(32, 0.0F);
  values[20] = 1e-40F;
  std::vector<float> residual(32);
  const std::vector<float> out = decoded(*make_int8_codec(16), values, &residual);
  for (const float value : out) EXPECT_EQ(value, 0.0F);
  EXPECT_EQ(residual[20], 1e-40F);
}

TEST(Codec, NoNanOrInfinityIsLost) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    std::vector<float> values = random_values(512, 1.0F);
    values[300] = bad;
    for (const auto& codec : {make_bf16_codec(), make_fp16_codec()}) {
      const std::vector<float> out = decoded(*codec, values);
      EXPECT_FALSE(std::isfinite(out[300]));
      EXPECT_EQ(std::isnan(out[300]), std::isnan(bad));
    }
    std::vector<float> residual(512, 3.0F);
    const std::vector<float> out = decoded(*make_int8_codec(256), values, &residual);
    EXPECT_TRUE(std::isfinite(out[255]));
    for (std::size_t i = 256; i < 512; ++i) {
      EXPECT_TRUE(std::isnan(out[i]));
      EXPECT_EQ(residual[i], 3.0F) << "what a spoiled block owes stays owed";
    }
  }
}

}  // namespace
}  // namespace dlt::ddp

// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt {
namespace {

/// The value of a small float from its definition: sign, exponent field, mantissa field.
double defined_value(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

struct Format {
  const char* name;
  int exponent_bits, mantissa_bits;
  std::uint16_t infinity;
  std::uint16_t (*narrow)(float);
  float (*widen)(std::uint16_t);
};

const Format kFormats[] = {{"bf16", 8, 7, 0x7f80, f32_to_bf16, bf16_to_f32},
                           {"f16", 5, 10, 0x7c00, f32_to_f16, f16_to_f32}};

TEST(SmallFloats, All65536WidenToTheirDefinedValue) {
  for (const Format& format : kFormats) {
    for (std::uint32_t i = 0; i < 0x10000; ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      const float value = format.widen(bits);
      const std::uint16_t magnitude = bits & 0x7fff;
      if (magnitude > format.infinity) {
        ASSERT_TRUE(std::isnan(value)) << format.name << " " << i;
      } else if (magnitude == format.infinity) {
        ASSERT_TRUE(std::isinf(value)) << format.name << " " << i;
      } else {
        ASSERT_EQ(static_cast<double>(value),
                  defined_value(bits, format.exponent_bits, format.mantissa_bits))
            << format.name << " " << i;
      }
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << format.name << " " << i;
    }
  }
}

TEST(SmallFloats, All65536SurviveTheRoundTrip) {
  for (const Format& format : kFormats) {
    for (std::uint32_t i = 0; i < 0x10000; ++i) {
      ASSERT_EQ(format.narrow(format.widen(static_cast<std::uint16_t>(i))), i) << format.name;
    }
  }
}

TEST(SmallFloats, MidpointsRoundToEvenAndTheirNeighboursToTheNearest) {
  for (const Format& format : kFormats) {
    for (std::uint32_t i = 0; i < format.infinity - 1u; ++i) {
      const auto low = static_cast<std::uint16_t>(i);
      const auto high = static_cast<std::uint16_t>(i + 1);
      // Halfway is exact in f32: f32 has more bits than either format.
      const float middle = static_cast<float>(
          (static_cast<double>(format.widen(low)) + static_cast<double>(format.widen(high))) / 2);
      const float infinity = std::numeric_limits<float>::infinity();
      for (const std::uint16_t sign : {std::uint16_t{0}, std::uint16_t{0x8000}}) {
        const float s = sign != 0 ? -1.0f : 1.0f;
        ASSERT_EQ(format.narrow(s * middle), (low % 2 == 0 ? low : high) | sign)
            << format.name << " " << i;
        ASSERT_EQ(format.narrow(s * std::nextafter(middle, 0.0f)), low | sign)
            << format.name << " " << i;
        ASSERT_EQ(format.narrow(s * std::nextafter(middle, infinity)), high | sign)
            << format.name << " " << i;
      }
    }
  }
}

TEST(SmallFloats, OverflowStartsHalfAStepAboveTheLargest) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f7f7fffu)), 0x7f7f);
}

TEST(SmallFloats, UnderflowKeepsTheSign) {
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(-0x1p-25f), 0x8000);
  EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 1);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(f32_to_bf16(-0.0f), 0x8000);
}

TEST(SmallFloats, NanStaysNanWhateverItsPayload) {
  const std::uint32_t seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int i = 0; i < 100000; ++i) {
    const std::uint32_t bits = (random() & 0x807fffffu) | 0x7f800000u;
    if ((bits & 0x7fffffu) == 0) continue;
    for (const Format& format : kFormats) {
      ASSERT_GT(format.narrow(std::bit_cast<float>(bits)) & 0x7fff, format.infinity)
          << format.name << " " << bits << " seed " << seed;
    }
  }
  EXPECT_GT(f32_to_f16(std::bit_cast<float>(0x7f800001u)) & 0x7fff, 0x7c00);
  EXPECT_GT(f32_to_bf16(std::bit_cast<float>(0x7fffffffu)) & 0x7fff, 0x7f80);
}

constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16,    DType::bf16, DType::i8,
                          DType::u8,  DType::i16, DType::u16,    DType::i32,  DType::u32,
                          DType::i64, DType::u64, DType::boolean};

TEST(DTypes, SafetensorsNamesReadBackAndAreDistinct) {
  std::set<std::string_view> names, safetensors_names;
  for (const DType dtype : kAll) {
    names.insert(name(dtype));
    safetensors_names.insert(safetensors_name(dtype));
    EXPECT_EQ(dtype_from_safetensors(safetensors_name(dtype)), dtype);
  }
  EXPECT_EQ(names.size(), std::size(kAll));
  EXPECT_EQ(safetensors_names.size(), std::size(kAll));
  EXPECT_EQ(dtype_from_safetensors("f32"), std::nullopt);
  EXPECT_EQ(dtype_from_safetensors(""), std::nullopt);
}

TEST(DTypes, SizesFollowTheNames) {
  EXPECT_EQ(size_bytes(DType::boolean), 1u);
  EXPECT_EQ(size_bytes(DType::bf16), 2u);
  for (const DType dtype : kAll) {
    if (dtype == DType::boolean || dtype == DType::bf16) continue;
    EXPECT_EQ(size_bytes(dtype) * 8, std::stoul(std::string(name(dtype).substr(1))));
  }
  EXPECT_THROW((void)size_bytes(static_cast<DType>(200)), Error);
}

}  // namespace
}  // namespace dlt

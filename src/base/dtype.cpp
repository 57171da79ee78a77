// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <array>
#include <bit>

#include "base/error.h"

namespace dlt {

namespace {

struct DTypeInfo {
  DType dtype;
  std::size_t size_bytes;
  std::string_view name, safetensors_name;
};

/// In the order of the enum.
constexpr std::array<DTypeInfo, 13> kDTypes{{
    {DType::f32, 4, "f32", "F32"},
    {DType::f64, 8, "f64", "F64"},
    {DType::f16, 2, "f16", "F16"},
    {DType::bf16, 2, "bf16", "BF16"},
    {DType::i8, 1, "i8", "I8"},
    {DType::u8, 1, "u8", "U8"},
    {DType::i16, 2, "i16", "I16"},
    {DType::u16, 2, "u16", "U16"},
    {DType::i32, 4, "i32", "I32"},
    {DType::u32, 4, "u32", "U32"},
    {DType::i64, 8, "i64", "I64"},
    {DType::u64, 8, "u64", "U64"},
    {DType::boolean, 1, "bool", "BOOL"},
}};

const DTypeInfo& info(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype);
  DLT_CHECK(index < kDTypes.size() && kDTypes[index].dtype == dtype, "no such dtype");
  return kDTypes[index];
}

}  // namespace

std::size_t size_bytes(DType dtype) { return info(dtype).size_bytes; }
std::string_view name(DType dtype) { return info(dtype).name; }
std::string_view safetensors_name(DType dtype) { return info(dtype).safetensors_name; }

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  for (const DTypeInfo& known : kDTypes) {
    if (known.safetensors_name == name) return known.dtype;
  }
  return std::nullopt;
}

std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t upper = bits >> 16;
  if ((bits & 0x7fffffffu) > 0x7f800000u) {  // NaN: rounding could carry it into infinity
    return static_cast<std::uint16_t>((upper & 0x7fu) != 0 ? upper : upper | 0x40u);
  }
  return static_cast<std::uint16_t>((bits + 0x7fffu + (upper & 1u)) >> 16);
}

float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto with_sign = [sign](std::uint32_t rest) {
    return static_cast<std::uint16_t>(sign | rest);
  };
  if (magnitude > 0x7f800000u) {
    const std::uint32_t payload = (magnitude >> 13) & 0x3ffu;
    return with_sign(0x7c00u | (payload != 0 ? payload : 0x200u));
  }
  if (magnitude >= 0x477ff000u) return with_sign(0x7c00u);  // 65520 and up round to infinity
  if (magnitude >= 0x38800000u) {                           // normal: 2^-14 and up
    const std::uint32_t rebased = magnitude - (112u << 23);
    return with_sign((rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13);
  }
  if (magnitude <= 0x33000000u) return with_sign(0);  // up to 2^-25: half the least subnormal
  // Subnormal: the mantissa with its hidden bit, in units of 2^-24.
  const std::uint32_t shift = 126u - (magnitude >> 23);
  const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const std::uint32_t quotient = mantissa >> shift;
  const std::uint32_t rest = mantissa & ((1u << shift) - 1u);
  const std::uint32_t half = 1u << (shift - 1u);
  const bool up = rest > half || (rest == half && (quotient & 1u) != 0);
  return with_sign(quotient + (up ? 1u : 0u));
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;  // exact
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace dlt

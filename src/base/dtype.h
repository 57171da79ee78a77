// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dlt {

enum class DType : std::uint8_t {
  f32,
  f64,
  f16,
  bf16,
  i8,
  u8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  boolean
};

[[nodiscard]] std::size_t size_bytes(DType dtype);
/// "f32", "i64", ... as the config, messages and the weights hash spell it (the hash uses the
/// safetensors name).
[[nodiscard]] std::string_view name(DType dtype);
/// "F32", "I64", "BOOL", ... as safetensors spells it.
[[nodiscard]] std::string_view safetensors_name(DType dtype);
[[nodiscard]] std::optional<DType> dtype_from_safetensors(std::string_view name);

/// Round to nearest, ties to even; NaN stays NaN.
[[nodiscard]] std::uint16_t f32_to_bf16(float value);
[[nodiscard]] float bf16_to_f32(std::uint16_t bits);
[[nodiscard]] std::uint16_t f32_to_f16(float value);
[[nodiscard]] float f16_to_f32(std::uint16_t bits);

}  // namespace dlt

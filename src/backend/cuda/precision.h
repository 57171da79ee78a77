// SPDX-License-Identifier: Apache-2.0
// Attribute precision of a product: what its operands are rounded to.
#pragma once

#include <cstdint>
#include <optional>

#include "tensor/kernel.h"

namespace dlt::cuda {

enum class Precision : std::uint8_t {
  f32,
  tf32,  // f32 in memory; the tensor cores see 10 bits of the mantissa
  bf16,
  f16,
};

/// None if the word is one that this device has no products for.
[[nodiscard]] std::optional<Precision> precision_of(const tensor::Attrs& attrs);

/// Whether operands are rounded to 16 bits in memory.
[[nodiscard]] inline bool is_narrow(Precision precision) {
  return precision == Precision::bf16 || precision == Precision::f16;
}
[[nodiscard]] inline std::int64_t element_bytes(Precision precision) {
  return is_narrow(precision) ? 2 : 4;
}

}  // namespace dlt::cuda

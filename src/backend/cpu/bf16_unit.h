// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::cpu {

/// What multiplies numbers of bf16: AMX tiles where processor and kernel offer them, else AVX-512's
/// dot products, else nothing. The rule is fixed, since the bits of a sum differ between the two.
enum class Bf16Unit : std::uint8_t { none, avx512, amx };

/// Of this process; asks the kernel for the tiles' registers on the first call.
[[nodiscard]] Bf16Unit bf16_unit();
/// "amx_bf16", "avx512_bf16" or "none".
[[nodiscard]] const char* name(Bf16Unit unit);

}  // namespace dlt::cpu

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dlt::tensor {

enum class PeakKind : std::uint8_t { f32, tf32, bits16 };

/// Floating-point operations a second that a GPU of that name, as the driver gives it, makes at
/// most in dense products: f32 by the ordinary cores, tf32 and bf16 or fp16 with sums in f32 by the
/// tensor cores. None for a model that is not in the table, and for a part of a GPU (MIG).
/// source  NVIDIA's data sheets of each model, without sparsity, at boost clock
[[nodiscard]] std::optional<double> peak_flops(std::string_view gpu, PeakKind kind);

}  // namespace dlt::tensor

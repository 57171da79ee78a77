// SPDX-License-Identifier: Apache-2.0
// How far a computed number may be from a reference, by the dtype it is computed in. The one table.
#pragma once

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "base/error.h"

namespace dlt::support {

struct Tolerance {
  double rtol = 0, atol = 0;
};

[[nodiscard]] inline Tolerance tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return {1e-12, 1e-13};
    case DType::f32:
      return {2e-5, 2e-6};
    case DType::f16:
      return {4e-3, 4e-3};
    case DType::bf16:
      return {3e-2, 3e-2};
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16:
    case DType::i32:
    case DType::u32:
    case DType::i64:
    case DType::u64:
    case DType::boolean:
      return {0, 0};
  }
  check_failed(__FILE__, __LINE__, "dtype", "unknown");
}

/// Central differences of a f64 function with a step of 1e-5 against its derivative.
inline constexpr Tolerance kFiniteDifference{2e-6, 2e-7};

/// |got - want| <= atol + rtol |want|; equal infinities and two NaNs are close.
[[nodiscard]] inline bool close(double got, double want, Tolerance limit) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want);
  if (std::isinf(got) || std::isinf(want)) return got == want;
  return std::abs(got - want) <= limit.atol + limit.rtol * std::abs(want);
}

}  // namespace dlt::support

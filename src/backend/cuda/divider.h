// SPDX-License-Identifier: Apache-2.0
// Division by a number that is known when the kernel is made: a device has no fast division of 64
// bits.
#pragma once

#include <cstdint>

#include "backend/cuda/device.h"

namespace dlt::cuda {

/// Divides 0 <= i < 2^63 by 1 <= divisor < 2^63, exactly.
class Divider {
 public:
  explicit Divider(std::int64_t divisor)
      : divisor_(static_cast<std::uint64_t>(divisor)),
        magic_(divisor_ == 1 ? 0 : UINT64_MAX / divisor_ + 1) {}
  [[nodiscard]] __device__ std::int64_t divide(std::int64_t i) const {
    const auto n = static_cast<std::uint64_t>(i);
    if (magic_ == 0) return i;
    std::uint64_t quotient =
        __umul64hi(n, magic_);  // right, or one too large: magic_ is rounded up
    if (quotient * divisor_ > n) --quotient;
    return static_cast<std::int64_t>(quotient);
  }
  /// Divides i, which becomes the remainder.
  [[nodiscard]] __device__ std::int64_t take(std::int64_t& i) const {
    const std::int64_t quotient = divide(i);
    i -= quotient * static_cast<std::int64_t>(divisor_);
    return quotient;
  }

 private:
  std::uint64_t divisor_, magic_;
};

}  // namespace dlt::cuda

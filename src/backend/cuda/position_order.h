// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cuda/device.h"

namespace dlt::cuda {

/// Ids in the order of what they name, as numbers 0 <= key <= rows: all that name no row are
/// `rows`.
struct IdKeys {
  const std::int32_t* ids;
  std::int64_t rows;
  [[nodiscard]] __device__ std::int64_t key(std::int64_t position) const {
    const std::int64_t id = ids[position];
    return id >= 0 && id < rows ? id : rows;
  }
};

/// The positions 0 to count - 1 ordered by key, those of one key in their own order: a radix sort
/// in passes of eight bits.
class PositionOrder {
 public:
  PositionOrder(std::int64_t count, std::int64_t rows);
  [[nodiscard]] std::int64_t scratch_bytes() const;
  /// The ordered positions, in scratch once the stream has come to them.
  [[nodiscard]] const std::int32_t* enqueue(const IdKeys& keys, std::byte* scratch,
                                            cudaStream_t stream) const;

 private:
  [[nodiscard]] std::int64_t order_bytes() const;

  std::int64_t count_, tiles_;
  int passes_ = 1;
};

}  // namespace dlt::cuda

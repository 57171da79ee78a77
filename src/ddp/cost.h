// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "ddp/reducer.h"

namespace dlt::ddp {

/// What a rank's reducer will hold and send, known before any rank is started.
struct Cost {
  // As Reducer::buffer_bytes(); where reduced buckets are released, the most that is in use at
  // once.
  std::int64_t buffer_bytes = 0;
  // Gradients sent in one step. exact: to the byte; fast: that of a ring, the library may differ.
  std::int64_t sent_bytes = 0;
};
[[nodiscard]] Cost planned_cost(const ReducerOptions& options, int world_size, int rank);

}  // namespace dlt::ddp

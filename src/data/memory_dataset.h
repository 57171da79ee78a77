// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "data/dataset.h"

namespace dlt::data {

/// Rows that the caller holds, ready as the executor wants them: inputs f32 or i32, targets f32 or
/// i32 (or none), four bytes a number. They are not checked.
struct MemoryRows {
  std::span<const std::byte> inputs;
  std::span<const std::byte> targets;
  tensor::Shape input_shape;  // of one sample
  tensor::Shape target_shape;
};

/// The rows must stay in place for the life of the data set.
[[nodiscard]] std::unique_ptr<Dataset> make_memory_dataset(const MemoryRows& rows);

}  // namespace dlt::data

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/shape.h"

namespace dlt::tensor {

/// Each parameter is cut into blocks of so many elements, from its own start. Norms are sums of the
/// blocks' sums, and a rank's shard ends where a block does, so that no bit depends on who adds.
inline constexpr std::int64_t kBlockElements = 1 << 14;

/// Where each parameter lies in the flat buffers of parameters, gradients and optimiser state.
/// Entries are in the order in which their gradients become final (last layer first); each begins
/// at a multiple of 16 elements (64 bytes of f32). The gaps are zero and stay zero.
struct FlatLayout {
  struct Entry {
    std::string name;
    Shape shape;
    std::int64_t offset = 0;  // elements
    std::int64_t numel = 0;
  };
  std::vector<Entry> entries;
  std::int64_t total = 0;  // elements, a multiple of 16

  void append(std::string name, Shape shape);
  [[nodiscard]] const Entry* find(std::string_view name) const;
};

}  // namespace dlt::tensor

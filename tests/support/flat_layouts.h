// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/flat_layout.h"

namespace dlt::ddp {

/// Parameters p0, p1, ... of so many elements.
inline tensor::FlatLayout layout_of(const std::vector<std::int64_t>& sizes) {
  tensor::FlatLayout layout;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layout.append("p" + std::to_string(i), tensor::Shape{sizes[i]});
  }
  return layout;
}

}  // namespace dlt::ddp

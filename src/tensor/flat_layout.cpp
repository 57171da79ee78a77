// SPDX-License-Identifier: Apache-2.0
#include "tensor/flat_layout.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {

void FlatLayout::append(std::string name, Shape shape) {
  DLT_CHECK(find(name) == nullptr, cat("parameter ", name, " is in the layout already"));
  constexpr std::int64_t kStep = 16;
  const std::int64_t numel = shape.numel();
  entries.push_back({std::move(name), shape, total, numel});
  total += (numel + kStep - 1) / kStep * kStep;
}

const FlatLayout::Entry* FlatLayout::find(std::string_view name) const {
  for (const Entry& entry : entries) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace dlt::tensor

// SPDX-License-Identifier: Apache-2.0
#include "autodiff/op_def.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace dlt::autodiff {

OpTable::OpTable(std::vector<OpDef> ops) : ops_(std::move(ops)) {
  std::sort(ops_.begin(), ops_.end(),
            [](const OpDef& a, const OpDef& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(
      ops_.begin(), ops_.end(), [](const OpDef& a, const OpDef& b) { return a.name == b.name; });
  DLT_CHECK(twice == ops_.end(), twice->name);
}

const OpDef* OpTable::find(std::string_view name) const {
  const auto found =
      std::lower_bound(ops_.begin(), ops_.end(), name,
                       [](const OpDef& op, std::string_view wanted) { return op.name < wanted; });
  return found != ops_.end() && found->name == name ? &*found : nullptr;
}

}  // namespace dlt::autodiff

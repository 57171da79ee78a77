// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/node.h"

namespace dlt::config {

/// Whether every reader sees the same in both: marks do not count, nor does whether a text that
/// cannot be taken for anything else was quoted.
inline bool tree_equal(const Node& a, const Node& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size() ||
      a.entries.size() != b.entries.size()) {
    return false;
  }
  if (a.kind == Kind::scalar && (a.scalar != b.scalar || to_integer(a) != to_integer(b) ||
                                 to_number(a) != to_number(b) || to_boolean(a) != to_boolean(b))) {
    return false;
  }
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!tree_equal(a.items[i], b.items[i])) return false;
  }
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].key != b.entries[i].key ||
        !tree_equal(a.entries[i].value, b.entries[i].value)) {
      return false;
    }
  }
  return true;
}

}  // namespace dlt::config

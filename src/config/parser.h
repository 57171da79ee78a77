// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "config/node.h"
#include "config/source_text.h"

namespace dlt::config {

inline constexpr int kMaxDepth = 64;
inline constexpr int kMaxKeyChars = 128;

/// Where a text stands in the whole config.
struct ParseContext {
  std::string path;  // of the text's root, "" for a file
  int depth = 0;     // of the text's root
};

/// The tree of one YAML document; none if the text is not YAML (one mistake recorded) or holds no
/// value (none recorded). Other mistakes are recorded and the tree goes on without them.
struct ParseResult {
  std::optional<Node> root;
  bool is_yaml = true;
};
[[nodiscard]] ParseResult parse_yaml(SourceText& source, const ParseContext& context,
                                     Diagnostics& diagnostics);

/// "a.b" and "c" give "a.b.c".
[[nodiscard]] std::string join_path(const std::string& path, const std::string& key);

/// Sets the value that the text "a.b=v" says.
void apply_override(Node& root, const std::string& text, Diagnostics& diagnostics);

}  // namespace dlt::config

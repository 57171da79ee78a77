// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.h"

namespace dlt::config {

/// Text of a config with its places: byte offsets to lines and columns counted in characters.
class SourceText {
 public:
  /// Drops a byte order mark and turns CR LF into LF. first_column is the column of the text's
  /// first character (an override's value stands behind its key).
  SourceText(std::string name, std::string_view text, int first_column = 1);
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  /// The place of length characters at a byte offset. Cheap if offsets mostly ascend.
  [[nodiscard]] Mark mark(std::size_t offset, int length = 1);
  /// The line of a byte offset, without its end.
  [[nodiscard]] std::string_view line(std::size_t offset) const;

 private:
  std::string name_, text_;
  int first_column_;
  std::vector<std::size_t> line_starts_;
  std::size_t last_offset_ = 0;  // where counting of characters goes on: offset and its column
  int last_column_ = 0;
  std::size_t last_line_ = 0;
};

[[nodiscard]] int num_chars(std::string_view text);

/// What a text must not contain: a byte that is not UTF-8, or a control character other than tab
/// and line feed.
struct BadChar {
  std::size_t offset = 0;
  bool is_utf8 = false;
  std::string shown;  // "\x1b"
};
[[nodiscard]] std::optional<BadChar> find_bad_char(std::string_view text);

}  // namespace dlt::config

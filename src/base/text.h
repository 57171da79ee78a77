// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace dlt {

/// Everything printed one after the other: cat(path, ": row ", 3).
template <typename... Parts>
[[nodiscard]] std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// One character of UTF-8. An invalid byte is a character of its own, with the byte as its code.
struct Utf8Char {
  std::uint32_t code = 0;
  std::size_t num_bytes = 1;
  bool valid = false;
};
/// The character at the start of text, which must not be empty.
[[nodiscard]] Utf8Char decode_utf8(std::string_view text);

/// "1 rank", "2 ranks"
[[nodiscard]] std::string counted(long long n, const std::string& one, const std::string& many);

/// A value fit for a message: control characters escaped (\n, \x1b), cut at max_chars with "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t max_chars = 80);

/// "a, b, c"
[[nodiscard]] std::string join(const std::vector<std::string>& words,
                               std::string_view separator = ", ");

/// The nearest spelling among candidates (edit distance at most about a third of the word), or "".
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace dlt

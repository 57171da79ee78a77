// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace dlt {

// One function a type, not one a list of types: messages are everywhere, and what prints them is
// compiled with each.
struct PartOfText {
  const void* value;
  void (*print)(std::ostream& out, const void* value);
};
template <typename Part>
[[nodiscard]] PartOfText part_of_text(const Part& part) {
  return {&part,
          [](std::ostream& out, const void* value) { out << *static_cast<const Part*>(value); }};
}
void print_characters(std::ostream& out, const void* value);
template <std::size_t N>
[[nodiscard]] PartOfText part_of_text(const char (&part)[N]) {
  return {part, print_characters};
}
[[nodiscard]] std::string text_of_parts(std::span<const PartOfText> parts);

/// Everything printed one after the other: cat(path, ": row ", 3).
template <typename... Parts>
[[nodiscard]] std::string cat(const Parts&... parts) {
  return text_of_parts(std::array<PartOfText, sizeof...(Parts)>{part_of_text(parts)...});
}

/// One character of UTF-8. An invalid byte is a character of its own, with the byte as its code.
struct Utf8Char {
  std::uint32_t code = 0;
  std::size_t num_bytes = 1;
  bool valid = false;
};
/// The character at the start of text, which must not be empty.
[[nodiscard]] Utf8Char decode_utf8(std::string_view text);

/// "1.5 MiB"
[[nodiscard]] std::string mebibytes(std::int64_t num_bytes);

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

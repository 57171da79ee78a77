// SPDX-License-Identifier: Apache-2.0
#include "observe/json_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace dlt::observe {
namespace {

/// Bytes of the UTF-8 character at the start of text, 0 if it is none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
  }
  // Too long a form, a surrogate, or beyond U+10FFFF.
  const unsigned second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

void append_escaped(std::string& out, unsigned char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (c >= 0x20 && c != 0x7f) {
    out += static_cast<char>(c);
    return;
  }
  out += "\\u00";
  out += kDigits[c >> 4];
  out += kDigits[c & 15u];
}

template <typename Number, typename... Format>
void append_number(std::string& out, Number value, Format... format) {
  std::array<char, 400> text{};  // the largest double has 309 digits before the point
  const auto [end, code] = std::to_chars(text.data(), text.data() + text.size(), value, format...);
  if (code == std::errc()) out.append(text.data(), end);
}

void append_double(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "\"nan\"";
  } else if (std::isinf(value)) {
    out += value > 0 ? "\"inf\"" : "\"-inf\"";
  } else {
    const std::size_t start = out.size();
    append_number(out, value);
    if (out.find_first_of(".e", start) == std::string::npos) out += ".0";
  }
}

void append_table(std::string& out, const Table& rows) {
  const char* before_row = "[";
  for (const std::vector<double>& row : rows) {
    out += before_row;
    before_row = ", ";
    const char* before = "[";
    for (const double number : row) {
      out += before;
      before = ", ";
      append_double(out, number);
    }
    out += row.empty() ? "[]" : "]";
  }
  out += rows.empty() ? "[]" : "]";
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = character_bytes(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (length == 1) {
      append_escaped(out, static_cast<unsigned char>(text[0]));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

void append_json(std::string& out, const FieldValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    append_number(out, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    append_double(out, *real);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    append_json(out, std::string_view(*text));
  } else {
    append_table(out, std::get<Table>(value));
  }
}

void append_seconds(std::string& out, double seconds) {
  if (!std::isfinite(seconds)) return append_double(out, seconds);
  append_number(out, seconds, std::chars_format::fixed, 6);
}

}  // namespace dlt::observe

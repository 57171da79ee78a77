// SPDX-License-Identifier: Apache-2.0
#include "config/scalars.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace dlt::config {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Removes the digits at the start and tells how many there were.
std::size_t skip_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  text.remove_prefix(count);
  return count;
}

/// Digits without a leading zero, but "0" itself.
bool skip_whole(std::string_view& text) {
  const bool zero = !text.empty() && text[0] == '0';
  const std::size_t digits = skip_digits(text);
  return digits == 1 || (digits > 1 && !zero);
}

bool is_integer_text(std::string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  return skip_whole(text) && text.empty();
}

/// -12, 1.5, .5, 5., 1e-05
bool is_number_text(std::string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  const bool has_whole = !text.empty() && is_digit(text[0]);
  if (has_whole && !skip_whole(text)) return false;
  std::size_t fraction = 0;
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    fraction = skip_digits(text);
  }
  if (!has_whole && fraction == 0) return false;
  if (!text.empty() && (text[0] == 'e' || text[0] == 'E')) {
    text.remove_prefix(1);
    if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
    if (skip_digits(text) == 0) return false;
  }
  return text.empty();
}

template <typename Number>
std::optional<Number> convert(std::string_view text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

template <typename Number>
std::string shortest(Number value) {
  std::array<char, 40> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// A hint that holds for every kind of number.
std::string common_hint(const Node& node) {
  if (node.kind != Kind::scalar) return {};
  std::string_view text = node.scalar;
  if (node.quoted) return is_number_text(text) ? "in quotes it is text; remove the quotes" : "";
  const std::string word = lower(text);
  const std::string sign = text.substr(0, 1) == "-" ? "-" : "";
  if (text.substr(0, 1) == "-" || text.substr(0, 1) == "+") text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0' &&
      is_one_of(word.substr(sign.size(), 2), {"0x", "0o", "0b"})) {
    return "write it in decimal";
  }
  const std::size_t zeros = std::min(text.find_first_not_of('0'), text.size());
  if (zeros > 0 && zeros < text.size() && is_digit(text[zeros]) &&
      is_number_text(text.substr(zeros))) {
    return cat("a leading zero looks octal; write ", sign, text.substr(zeros));
  }
  if (is_number_text(text) && node.scalar[0] == '+') return cat("leave out the '+': ", text);
  std::string digits;
  for (const char c : text) {
    if (c != '_' && c != ',' && c != '\'' && c != ' ') digits += c;
  }
  if (digits.size() < text.size() && is_number_text(digits)) {
    return cat("write it without separators: ", sign, digits);
  }
  return {};
}

}  // namespace

std::string describe(const Node& node) {
  switch (node.kind) {
    case Kind::null:
      return node.scalar.empty() ? "nothing" : cat("'", printable(node.scalar), "'");
    case Kind::scalar:
      return cat(node.quoted && is_number_text(node.scalar) ? "the text '" : "'",
                 printable(node.scalar), "'");
    case Kind::sequence:
      return node.items.empty() ? "an empty list" : "a list";
    case Kind::map:
      return node.entries.empty() ? "an empty map" : "a map";
  }
  return {};
}

std::optional<std::int64_t> to_integer(const Node& node) {
  if (node.kind != Kind::scalar || node.quoted || !is_integer_text(node.scalar)) return {};
  return convert<std::int64_t>(node.scalar);
}

std::optional<double> to_number(const Node& node) {
  if (node.kind != Kind::scalar || node.quoted || !is_number_text(node.scalar)) return {};
  return convert<double>(node.scalar);
}

std::optional<bool> to_boolean(const Node& node) {
  if (node.kind != Kind::scalar || node.quoted) return {};
  if (node.scalar == "true") return true;
  if (node.scalar == "false") return false;
  return {};
}

std::string integer_hint(const Node& node) {
  const auto value = to_number(node);
  if (value && !to_integer(node) && std::abs(*value) < 0x1p53 && std::floor(*value) == *value) {
    return cat("write an integer with digits only: ", shortest(static_cast<std::int64_t>(*value)));
  }
  return common_hint(node);
}

std::string number_hint(const Node& node) {
  if (node.kind == Kind::scalar && !node.quoted) {
    std::string word = lower(node.scalar);
    if (!word.empty() && (word[0] == '-' || word[0] == '+')) word.erase(0, 1);
    if (is_one_of(word, {".nan", "nan", ".inf", "inf", "infinity"})) {
      return "a number here must be finite";
    }
  }
  return common_hint(node);
}

std::string boolean_hint(const Node& node) {
  if (node.kind != Kind::scalar) return {};
  const std::string word = lower(node.scalar);
  const std::string quotes = node.quoted ? " without quotes" : "";
  if (is_one_of(word, {"true", "yes", "on", "y", "1"})) return cat("write true", quotes);
  if (is_one_of(word, {"false", "no", "off", "n", "0"})) return cat("write false", quotes);
  return {};
}

std::string expected(const IntegerRule& rule) {
  const bool has_min = rule.min != INT64_MIN;
  const bool has_max = rule.max != INT64_MAX;
  if (has_min && has_max) return cat("an integer from ", rule.min, " to ", rule.max);
  if (has_min) return cat("an integer of at least ", rule.min);
  if (has_max) return cat("an integer of at most ", rule.max);
  return "an integer";
}

std::string expected(const NumberRule& rule) {
  const bool has_min = rule.min > -1e308;
  const bool has_max = rule.max < 1e308;
  if (has_min && has_max && !rule.min_open && !rule.max_open) {
    return cat("a number from ", shortest(rule.min), " to ", shortest(rule.max));
  }
  std::string text = "a number";
  if (has_min) text += cat(rule.min_open ? " above " : " of at least ", shortest(rule.min));
  if (has_min && has_max) text += " and";
  const char* const most = has_min ? " at most " : " of at most ";
  if (has_max) text += cat(rule.max_open ? " below " : most, shortest(rule.max));
  return text;
}

bool allows(const IntegerRule& rule, std::int64_t value) {
  return value >= rule.min && value <= rule.max;
}

bool allows(const NumberRule& rule, double value) {
  return (rule.min_open ? value > rule.min : value >= rule.min) &&
         (rule.max_open ? value < rule.max : value <= rule.max);
}

}  // namespace dlt::config

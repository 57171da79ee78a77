// SPDX-License-Identifier: Apache-2.0
#include "import/name_pattern.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace dlt::import_ {
namespace {

[[noreturn]] void bad_pattern(const std::string& pattern, const std::string& what) {
  throw Error(Exit::usage, cat("pattern '", printable(pattern), "': ", what),
              "for example {label}_{speaker}_{index}.wav");
}

std::optional<double> number_of(const std::string& text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

/// The last parts of a path, as many as the pattern has.
std::string_view last_parts(std::string_view path, std::int64_t num_parts) {
  std::size_t begin = path.size();
  for (std::int64_t i = 0; i < num_parts && begin != std::string_view::npos; ++i) {
    begin = begin == 0 ? std::string_view::npos : path.rfind('/', begin - 1);
  }
  return begin == std::string_view::npos ? path : path.substr(begin + 1);
}

}  // namespace

NamePattern::NamePattern(const std::string& pattern) : pattern_(pattern) {
  std::string_view rest = pattern_;
  const auto text_until_field = [&] {
    const std::string_view text = rest.substr(0, rest.find('{'));
    if (text.find('}') != std::string_view::npos) bad_pattern(pattern_, "a '}' without its '{'");
    rest.remove_prefix(text.size());
    return std::string(text);
  };
  begin_ = text_until_field();
  while (!rest.empty()) {
    const std::size_t end = rest.find('}');
    if (end == std::string_view::npos) bad_pattern(pattern_, "a '{' without its '}'");
    Field field{std::string(rest.substr(1, end - 1)), ""};
    if (field.name.empty() || field.name.find('{') != std::string::npos) {
      bad_pattern(pattern_, "a field without a name");
    }
    if (has(field.name)) bad_pattern(pattern_, cat("field '", field.name, "' comes twice"));
    rest.remove_prefix(end + 1);
    field.after = text_until_field();
    if (field.after.empty() && !rest.empty()) {
      bad_pattern(pattern_, cat("nothing ends field '", field.name, "'"));
    }
    fields_.push_back(std::move(field));
  }
}

bool NamePattern::has(const std::string& field) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const Field& other) { return other.name == field; });
}

std::map<std::string, std::string> NamePattern::fields_of(const std::string& path) const {
  const auto refuse = [&] {
    throw Error(Exit::data, cat(path, ": its name does not fit the pattern '", pattern_, "'"));
  };
  const auto num_parts = std::count(pattern_.begin(), pattern_.end(), '/') + 1;
  std::string_view rest = last_parts(path, num_parts);
  if (!rest.starts_with(begin_)) refuse();
  rest.remove_prefix(begin_.size());
  std::map<std::string, std::string> out;
  for (const Field& field : fields_) {
    const bool is_last = &field == &fields_.back();
    std::size_t end = is_last ? rest.size() - std::min(rest.size(), field.after.size())
                              : rest.find(field.after, 1);
    if (end == std::string_view::npos || end == 0 ||
        rest.substr(end, field.after.size()) != field.after) {
      refuse();
    }
    out[field.name] = rest.substr(0, end);
    rest.remove_prefix(end + field.after.size());
  }
  if (!rest.empty()) refuse();
  return out;
}

FieldRule::FieldRule(const std::string& rule) : rule_(rule) {
  const std::size_t at = rule.find_first_of("<>=!");
  if (at != std::string::npos && at > 0) {
    const std::size_t signs = at + 1 < rule.size() && rule[at + 1] == '=' ? 2 : 1;
    field_ = rule.substr(0, at);
    sign_ = rule.substr(at, signs);
    value_ = rule.substr(at + signs);
  }
  if (sign_ == "==") sign_ = "=";
  const bool ordered = sign_.starts_with('<') || sign_.starts_with('>');
  if (field_.empty() || value_.empty() || sign_ == "!" || (ordered && !number_of(value_))) {
    throw Error(Exit::usage,
                cat("rule '", printable(rule),
                    "': expected FIELD, one of < <= > >= = "
                    "!=, and a value"),
                "for example index<5, or speaker=theo");
  }
}

bool FieldRule::holds(const std::string& value, const std::string& path) const {
  if (sign_ == "=" || sign_ == "!=") return (value == value_) == (sign_ == "=");
  const std::optional<double> number = number_of(value);
  if (!number) {
    throw Error(Exit::data, cat(path, ": field '", field_, "' is '", printable(value),
                                "', expected a number for the rule '", rule_, "'"));
  }
  const double limit = *number_of(value_);
  if (sign_ == "<") return *number < limit;
  if (sign_ == "<=") return *number <= limit;
  return sign_ == ">" ? *number > limit : *number >= limit;
}

}  // namespace dlt::import_

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

namespace dlt::import_ {

/// Fields of a file's name: "{label}_{speaker}_{index}.wav" takes label "7", speaker "jackson" and
/// index "32" from "7_jackson_32.wav"; "{label}/{index}.wav" looks at the folder's name too. A
/// field ends where the text after it first comes.
class NamePattern {
 public:
  /// errors  Error(Exit::usage) open braces, a field that is empty or comes twice, two fields with
  /// nothing between them
  explicit NamePattern(const std::string& pattern);
  [[nodiscard]] bool has(const std::string& field) const;
  /// errors  Error(Exit::data) the name does not fit
  [[nodiscard]] std::map<std::string, std::string> fields_of(const std::string& path) const;

 private:
  std::string pattern_;
  std::string begin_;  // before the first field
  struct Field {
    std::string name;
    std::string after;  // text that follows it
  };
  std::vector<Field> fields_;
};

/// "index<5", "speaker=theo": a rule on one field. Numbers are compared as numbers; = and != also
/// take words.
class FieldRule {
 public:
  /// errors  Error(Exit::usage) not of that form
  explicit FieldRule(const std::string& rule);
  [[nodiscard]] const std::string& field() const { return field_; }
  /// errors  Error(Exit::data) the field is to be a number and is none; PATH: in front
  [[nodiscard]] bool holds(const std::string& value, const std::string& path) const;

 private:
  std::string rule_, field_, sign_, value_;
};

}  // namespace dlt::import_

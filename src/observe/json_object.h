// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "observe/events.h"

namespace dlt::observe {

/// A JSON object to be written: keys in the order in which they were first set, values, objects
/// and lists of either. NaN and infinities are written as the strings "nan", "inf", "-inf"; doubles
/// read back the same.
class JsonObject {
 public:
  /// Setting a key again replaces its value and keeps its place.
  void set(std::string_view key, FieldValue value);
  void set(std::string_view key, std::vector<FieldValue> values);
  void set(std::string_view key, JsonObject object);
  void set(std::string_view key, std::vector<JsonObject> objects);
  /// One line if indent is 0, else one line a member; without a newline at the end.
  [[nodiscard]] std::string text(int indent = 0) const;

 private:
  struct Member;
  struct Writer;
  Member& member(std::string_view key);
  std::vector<Member> members_;
};

struct JsonObject::Member {
  std::string key;
  std::variant<FieldValue, std::vector<FieldValue>, JsonObject, std::vector<JsonObject>> value;
};

}  // namespace dlt::observe

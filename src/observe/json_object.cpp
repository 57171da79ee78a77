// SPDX-License-Identifier: Apache-2.0
#include "observe/json_object.h"

#include <utility>

#include "observe/json_text.h"

namespace dlt::observe {

JsonObject::Member& JsonObject::member(std::string_view key) {
  for (Member& known : members_) {
    if (known.key == key) return known;
  }
  return members_.emplace_back(Member{std::string(key), {}});
}

void JsonObject::set(std::string_view key, FieldValue value) {
  member(key).value = std::move(value);
}

void JsonObject::set(std::string_view key, std::vector<FieldValue> values) {
  member(key).value = std::move(values);
}

void JsonObject::set(std::string_view key, JsonObject object) {
  member(key).value = std::move(object);
}

void JsonObject::set(std::string_view key, std::vector<JsonObject> objects) {
  member(key).value = std::move(objects);
}

struct JsonObject::Writer {
  std::string out;
  int indent;  // 0: all on one line

  void new_line(int depth) {
    if (indent <= 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent * depth), ' ');
  }

  void comma(bool first) {
    if (!first) out += indent > 0 ? "," : ", ";
  }

  void put(const FieldValue& value, int) { append_json(out, value); }

  void put(const JsonObject& object, int depth) {
    out += '{';
    for (const Member& member : object.members_) {
      comma(&member == &object.members_.front());
      new_line(depth + 1);
      append_json(out, std::string_view(member.key));
      out += ": ";
      std::visit([&](const auto& value) { put(value, depth + 1); }, member.value);
    }
    if (!object.members_.empty()) new_line(depth);
    out += '}';
  }

  template <typename Value>
  void put(const std::vector<Value>& values, int depth) {
    out += '[';
    for (const Value& value : values) {
      comma(&value == &values.front());
      new_line(depth + 1);
      put(value, depth + 1);
    }
    if (!values.empty()) new_line(depth);
    out += ']';
  }
};

std::string JsonObject::text(int indent) const {
  Writer writer{{}, indent};
  writer.put(*this, 0);
  return writer.out;
}

}  // namespace dlt::observe

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "observe/events.h"

namespace dlt::observe {

/// A JSON object that keeps the order of its keys. NaN and infinities are written as the strings
/// "nan", "inf" and "-inf"; doubles with the fewest digits that read back to the same value.
class JsonObject {
 public:
  JsonObject();
  ~JsonObject();
  JsonObject(const JsonObject& other);
  JsonObject(JsonObject&&) noexcept;
  JsonObject& operator=(JsonObject other) noexcept;

  /// Sets a key anew or replaces its value.
  void set(const std::string& key, const FieldValue& value);
  void set(const std::string& key, const char* value) { set(key, FieldValue(std::string(value))); }
  void set(const std::string& key, const JsonObject& value);
  void set(const std::string& key, const std::vector<FieldValue>& values);
  void set(const std::string& key, const std::vector<JsonObject>& values);
  /// indent 0: on one line.
  [[nodiscard]] std::string text(int indent = 0) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::observe

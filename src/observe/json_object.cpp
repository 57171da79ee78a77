// SPDX-License-Identifier: Apache-2.0
#include "observe/json_object.h"

#include <cmath>

#include <nlohmann/json.hpp>

namespace dlt::observe {

using Json = nlohmann::ordered_json;

struct JsonObject::Impl {
  Json json = Json::object();
};

namespace {

Json to_json(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

Json to_json(const FieldValue& value) {
  return std::visit(
      [](const auto& v) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, double>) {
          return to_json(v);
        } else {
          return v;
        }
      },
      value);
}

}  // namespace

JsonObject::JsonObject() : impl_(std::make_unique<Impl>()) {}
JsonObject::~JsonObject() = default;
JsonObject::JsonObject(const JsonObject& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
JsonObject::JsonObject(JsonObject&&) noexcept = default;
JsonObject& JsonObject::operator=(JsonObject other) noexcept {
  impl_.swap(other.impl_);
  return *this;
}

void JsonObject::set(const std::string& key, const FieldValue& value) {
  impl_->json[key] = to_json(value);
}

void JsonObject::set(const std::string& key, const JsonObject& value) {
  impl_->json[key] = value.impl_->json;
}

void JsonObject::set(const std::string& key, const std::vector<FieldValue>& values) {
  Json list = Json::array();
  for (const FieldValue& value : values) list.push_back(to_json(value));
  impl_->json[key] = std::move(list);
}

void JsonObject::set(const std::string& key, const std::vector<JsonObject>& values) {
  Json list = Json::array();
  for (const JsonObject& value : values) list.push_back(value.impl_->json);
  impl_->json[key] = std::move(list);
}

std::string JsonObject::text(int indent) const {
  // A broken byte in a path or a message must not end the run that reports it.
  return impl_->json.dump(indent > 0 ? indent : -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dlt::observe

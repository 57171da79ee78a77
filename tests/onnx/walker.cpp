// SPDX-License-Identifier: Apache-2.0
#include "onnx/walker.h"

#include <gtest/gtest.h>

namespace dlt::onnx::test {
namespace {

std::uint64_t varint(std::string_view bytes, std::size_t& at) {
  std::uint64_t out = 0;
  for (int shift = 0; at < bytes.size() && shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    out |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return out;
  }
  ADD_FAILURE() << "a number that does not end";
  at = bytes.size();
  return out;
}

}  // namespace

std::vector<Field> fields(std::string_view message) {
  std::vector<Field> out;
  for (std::size_t at = 0; at < message.size();) {
    const std::uint64_t key = varint(message, at);
    Field field{
        .number = static_cast<int>(key >> 3), .wire_type = static_cast<int>(key & 7), .bytes = {}};
    std::uint64_t size = 0;
    switch (field.wire_type) {
      case 0:
        field.integer = varint(message, at);
        break;
      case 2:
        size = varint(message, at);
        break;
      case 5:
        size = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << field.wire_type;
        return out;
    }
    if (size > message.size() - at) {
      ADD_FAILURE() << "a field longer than its message";
      return out;
    }
    field.bytes = message.substr(at, size);
    at += size;
    out.push_back(field);
  }
  return out;
}

std::string text(std::string_view message, int number) {
  for (const Field& field : fields(message)) {
    if (field.number == number) return field.bytes;
  }
  return "";
}

std::uint64_t integer(std::string_view message, int number) {
  for (const Field& field : fields(message)) {
    if (field.number == number) return field.integer;
  }
  return 0;
}

std::vector<std::string> all(std::string_view message, int number) {
  std::vector<std::string> out;
  for (const Field& field : fields(message)) {
    if (field.number == number) out.push_back(field.bytes);
  }
  return out;
}

std::vector<std::int64_t> packed(std::string_view bytes) {
  std::vector<std::int64_t> out;
  for (std::size_t at = 0; at < bytes.size();)
    out.push_back(static_cast<std::int64_t>(varint(bytes, at)));
  return out;
}

}  // namespace dlt::onnx::test

// SPDX-License-Identifier: Apache-2.0
// Reads protobuf's wire format, so that tests need no protobuf library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dlt::onnx::test {

struct Field {
  int number = 0;
  int wire_type = 0;          // 0 varint, 2 bytes, 5 four bytes
  std::uint64_t integer = 0;  // of a varint or of four bytes
  std::string bytes;
};

/// The fields of a message, in their order. Fails the test where it is not one.
[[nodiscard]] std::vector<Field> fields(std::string_view message);
/// The first field of a number, as bytes or as an integer; "" and 0 if there is none.
[[nodiscard]] std::string text(std::string_view message, int number);
[[nodiscard]] std::uint64_t integer(std::string_view message, int number);
[[nodiscard]] std::vector<std::string> all(std::string_view message, int number);
[[nodiscard]] std::vector<std::int64_t> packed(std::string_view bytes);

}  // namespace dlt::onnx::test

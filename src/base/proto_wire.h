// SPDX-License-Identifier: Apache-2.0
// Protobuf's wire format, appended to a text that keeps its memory.
// source  https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dlt {

enum class Wire : std::uint8_t { varint = 0, bits64 = 1, bytes = 2, bits32 = 5 };

/// The lowest num_bytes bytes of a number, lowest first.
void append_little_endian(std::string& out, std::uint64_t value, int num_bytes);
void append_varint(std::string& out, std::uint64_t value);
void append_tag(std::string& out, unsigned field, Wire wire);
/// A field of bytes: tag, length and the bytes.
void append_bytes(std::string& out, unsigned field, std::string_view bytes);

}  // namespace dlt

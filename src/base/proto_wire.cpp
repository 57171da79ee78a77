// SPDX-License-Identifier: Apache-2.0
#include "base/proto_wire.h"

namespace dlt {

void append_little_endian(std::string& out, std::uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xffu);
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7fu) | 0x80u);
  out += static_cast<char>(value);
}

void append_tag(std::string& out, unsigned field, Wire wire) {
  append_varint(out, (field << 3) | static_cast<unsigned>(wire));
}

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_tag(out, field, Wire::bytes);
  append_varint(out, bytes.size());
  out += bytes;
}

}  // namespace dlt

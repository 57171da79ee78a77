// SPDX-License-Identifier: Apache-2.0
// Archives as NumPy writes them, and with defects.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <zlib.h>

namespace dlt::weights::test {

struct ZipEntry {
  std::string name, bytes;  // before packing
  bool deflate = false;
  std::uint64_t claimed_bytes = 0;  // 0: what they are
  int method = -1, flags = 0;       // -1: 0 or 8
  std::uint32_t spoil_crc = 0;
};

inline std::string little_endian(std::uint64_t number, int width) {
  std::string out;
  for (int i = 0; i < width; ++i) {
    out += static_cast<char>(i < 8 ? number >> (8 * i) & 0xff : 0);
  }
  return out;
}

inline std::string deflated(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zip(const std::vector<ZipEntry>& entries) {
  std::string out, directory;
  for (const ZipEntry& entry : entries) {
    const std::string stored = entry.deflate ? deflated(entry.bytes) : entry.bytes;
    const auto crc =
        crc32_z(0, reinterpret_cast<const Bytef*>(entry.bytes.data()), entry.bytes.size());
    const std::uint64_t size = entry.claimed_bytes > 0 ? entry.claimed_bytes : entry.bytes.size();
    const int method = entry.method >= 0 ? entry.method : entry.deflate ? 8 : 0;
    const std::string fields =
        little_endian(20, 2) + little_endian(static_cast<std::uint64_t>(entry.flags), 2) +
        little_endian(static_cast<std::uint64_t>(method), 2) + little_endian(0, 4) +
        little_endian(crc ^ entry.spoil_crc, 4) + little_endian(stored.size(), 4) +
        little_endian(size, 4) + little_endian(entry.name.size(), 2);
    directory += "PK\x01\x02" + little_endian(20, 2) + fields + little_endian(0, 2) +
                 little_endian(0, 10) + little_endian(out.size(), 4) + entry.name;
    // NumPy's local headers carry an extra field.
    out += "PK\x03\x04" + fields + little_endian(4, 2) + entry.name + "\x01\x02" +
           little_endian(0, 2) + stored;
  }
  const std::size_t begin = out.size();
  out += directory + "PK\x05\x06" + little_endian(0, 4) + little_endian(entries.size(), 2) +
         little_endian(entries.size(), 2) + little_endian(directory.size(), 4) +
         little_endian(begin, 4) + little_endian(0, 2);
  return out;
}

/// An .npy file of version 1.0.
inline std::string npy(const std::string& dictionary, const std::string& numbers) {
  const std::string text = dictionary + "\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little_endian(text.size(), 2) + text + numbers;
}

inline std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace dlt::weights::test

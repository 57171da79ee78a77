// SPDX-License-Identifier: Apache-2.0
// source  PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16
#include <deque>
#include <span>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "base/error.h"
#include "base/proto_wire.h"
#include "base/text.h"
#include "weights/npy_header.h"
#include "weights/write.h"

namespace dlt::weights {
namespace {

constexpr std::uint64_t kMaxArchive_bytes = 0xfffffffe;  // ZIP without ZIP64
constexpr std::size_t kMaxEntries = 0xfffe;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// What the header before an entry and the directory say alike. Dates are those of 1980-01-01, so
/// that equal tensors make equal files.
std::string common_fields(std::uint32_t crc, std::uint64_t num_bytes, std::size_t name_bytes) {
  std::string out;
  append_little_endian(out, 20, 2);       // version needed: 2.0
  append_little_endian(out, 1 << 11, 2);  // names are UTF-8
  append_little_endian(out, 0, 2);        // stored
  append_little_endian(out, 0, 2);        // time
  append_little_endian(out, 0x21, 2);     // date
  append_little_endian(out, crc, 4);
  append_little_endian(out, num_bytes, 4);
  append_little_endian(out, num_bytes, 4);
  append_little_endian(out, name_bytes, 2);
  append_little_endian(out, 0, 2);  // extra field
  return out;
}

[[noreturn]] void too_large(const std::string& path) {
  throw Error(
      Exit::config,
      cat(printable(path, 200), ": more than 4 GiB or 65534 tensors, which .npz does not hold"),
      "--format safetensors does");
}

}  // namespace

void write_npz(Fs& fs, const std::string& path, const tensor::StateDict& state,
               const Metadata& metadata) {
  if (state.size() > kMaxEntries) too_large(path);
  std::deque<std::string> texts;  // stay in place as more come
  std::vector<std::span<const std::byte>> pieces;
  std::string directory;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : state) {
    const std::string entry = name + ".npy";
    const std::string header = npy_header(tensor.type());
    const auto numbers = tensor.byte_span();
    const std::uint64_t num_bytes = header.size() + numbers.size();
    if (at + num_bytes + 2 * entry.size() + 128 > kMaxArchive_bytes) too_large(path);
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(numbers.data()), numbers.size());
    const std::string fields =
        common_fields(static_cast<std::uint32_t>(crc), num_bytes, entry.size());
    directory += cat("PK\x01\x02", std::string_view("\x14\x03", 2), fields);
    append_little_endian(directory, 0, 2);  // comment
    append_little_endian(directory, 0, 2);  // disk
    append_little_endian(directory, 0, 2);  // internal attributes
    append_little_endian(directory, 0100644ULL << 16, 4);
    append_little_endian(directory, at, 4);
    directory += entry;
    texts.push_back(cat("PK\x03\x04", fields, entry, header));
    pieces.push_back(bytes_of(texts.back()));
    pieces.push_back(numbers);
    at += texts.back().size() + numbers.size();
  }
  std::string comment;
  for (const auto& [key, value] : metadata) comment += cat(key, "=", value, "\n");
  const std::size_t directory_bytes = directory.size();
  if (at + directory_bytes > kMaxArchive_bytes) too_large(path);
  directory += "PK\x05\x06";
  append_little_endian(directory, 0, 4);  // this disk, the directory's disk
  append_little_endian(directory, state.size(), 2);
  append_little_endian(directory, state.size(), 2);
  append_little_endian(directory, directory_bytes, 4);
  append_little_endian(directory, at, 4);
  append_little_endian(directory, comment.size(), 2);
  directory += comment;
  pieces.push_back(bytes_of(directory));
  write_atomically(fs, path, pieces);
}

}  // namespace dlt::weights

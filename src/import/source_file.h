// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dlt::import_ {

/// No source, unpacked, may be larger.
inline constexpr std::int64_t kMaxSource_bytes = std::int64_t{1} << 36;

/// Reads a regular file front to back, unpacking gzip on the way.
/// errors  Exit::missing no such file; Exit::data not a regular file, damaged or cut-short gzip
class SourceFile {
 public:
  explicit SourceFile(const std::string& path);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  /// Fills out as far as the file goes; returns how many bytes.
  std::int64_t read_some(std::byte* out, std::int64_t num_bytes);
  /// Exactly num_bytes, in a buffer that grows only as bytes arrive: a file that promises much
  /// costs no more memory than it holds. what: "the pixels", for the message if it ends early.
  [[nodiscard]] std::vector<std::byte> read_exactly(std::int64_t num_bytes, const char* what);
  /// Refuses a file that goes on (and checks a gzip file's checksum).
  void expect_end();
  [[nodiscard]] std::int64_t position() const { return position_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  void* gz_ = nullptr;
  std::int64_t position_ = 0;
};

/// The whole of a text file, plain or gzipped. errors  as SourceFile; Exit::data more than 8 GiB
[[nodiscard]] std::string read_whole(const std::string& path);

}  // namespace dlt::import_

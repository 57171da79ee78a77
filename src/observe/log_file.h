// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dlt::observe {

/// A file that only grows and must not stop training: opening may throw, appending never does.
class LogFile {
 public:
  enum class Mode : std::uint8_t { append, create_new };
  /// errors  Error(Exit::io) if it cannot be opened; with create_new also if it is there already
  LogFile(std::string path, Mode mode);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  /// One write(2) as long as the system takes it whole. False if it failed; the first failure is
  /// reported to stderr, once.
  bool append(std::string_view text);
  /// Whether the file ends without a newline, and not because another process is just writing.
  [[nodiscard]] bool ends_inside_line() const;

 private:
  void report(int code);
  std::string path_;
  int fd_;
  bool reported_ = false;
};

}  // namespace dlt::observe

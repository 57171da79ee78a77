// SPDX-License-Identifier: Apache-2.0
// A folder of its own for a test, removed at its end.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fs.h"

namespace dlt::test {

class TempFolder {
 public:
  /// In memory where that is possible: a test that makes hundreds of folders waits for no disk.
  TempFolder() : TempFolder({"/dev/shm/", testing::TempDir()}) {}
  /// In the first of these that takes it.
  explicit TempFolder(const std::vector<std::string>& parents) {
    for (const std::string& parent : parents) {
      path_ = parent + "dltrain_XXXXXX";
      if (::mkdtemp(path_.data()) != nullptr) return;
    }
    throw Error(Exit::io, path_ + ": mkdtemp failed");
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

/// A new file in the place of what was there: rewriting one in place waits for the disk.
inline void write_file(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.flush();
  if (!file) throw Error(Exit::io, path + ": cannot be written");
}

/// What action throws, as "exit: message", or "no error".
template <typename Action>
[[nodiscard]] std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.exit())) + ": " + error.what();
  }
  return "no error";
}

}  // namespace dlt::test

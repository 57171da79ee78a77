// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

namespace dlt {

/// Whether the system's loader knows a library of that name.
[[nodiscard]] bool library_exists(const char* name);

/// A library that the program opens at run time, so that it starts where what the library needs is
/// missing. Stays open as long as this.
class Plugin {
 public:
  /// Looks for the file beside the program and in ../lib/dltrain of it.
  /// errors  Error(Exit::unavailable) with the loader's own words, or where it was looked for
  explicit Plugin(const std::string& file_name);
  /// errors  Error(Exit::unavailable) if the library has no such function
  [[nodiscard]] void* function(const char* name) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(void* library) const;
  };
  std::string path_;
  std::unique_ptr<void, Close> library_;
};

}  // namespace dlt

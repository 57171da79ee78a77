// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace dlt::supervise {

/// The last lines of a text that comes in pieces, but for those without a letter or a digit (a
/// starter frames what it says).
class LastLines {
 public:
  static constexpr std::size_t kLines = 8;
  static constexpr std::size_t kLineBytes = 1024;  // what is longer is cut
  void add(std::string_view piece);
  /// Begins with the first; what was not ended by a newline counts, too.
  [[nodiscard]] std::vector<std::string> lines() const;
  void clear();

 private:
  std::deque<std::string> ended_;
  std::string open_;
};

}  // namespace dlt::supervise

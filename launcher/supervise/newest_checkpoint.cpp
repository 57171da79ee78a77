// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/newest_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

namespace dlt::supervise {

std::int64_t newest_checkpoint(const std::string& run_dir) {
  constexpr std::string_view kPrefix = "step-";
  std::int64_t newest = -1;
  std::error_code error;
  std::filesystem::directory_iterator entry(run_dir + "/checkpoints", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    std::int64_t step = -1;
    const char* end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + kPrefix.size(), end, step);
    if (read.ec == std::errc() && read.ptr == end) newest = std::max(newest, step);
  }
  return newest;
}

}  // namespace dlt::supervise

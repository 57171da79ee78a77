// SPDX-License-Identifier: Apache-2.0
#include "base/checkpoint_folders.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/fs.h"

namespace dlt {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr std::size_t kMinDigits = 9;

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kMinDigits) digits.insert(0, kMinDigits - digits.size(), '0');
  return std::string(kPrefix) + digits;
}

std::int64_t checkpoint_step(std::string_view name) {
  if (!name.starts_with(kPrefix)) return -1;
  const std::string_view digits = name.substr(kPrefix.size());
  std::int64_t step = -1;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  const bool whole = code == std::errc() && end == digits.data() + digits.size();
  return whole && step >= 0 && checkpoint_name(step) == name ? step : -1;
}

std::vector<CheckpointPlace> complete_in(const std::string& directory) {
  std::map<std::int64_t, std::string> paths;
  for (const std::string& name : list_directory(directory)) {
    const bool replaced = name.starts_with(kReplacedCheckpoint);
    const std::int64_t step = checkpoint_step(
        replaced ? std::string_view(name).substr(kReplacedCheckpoint.size()) : name);
    if (step < 0) continue;
    std::string& path = paths[step];
    if (path.empty() || !replaced) path = directory + "/" + name;
  }
  std::vector<CheckpointPlace> places;
  for (const auto& [step, path] : paths) places.push_back({step, path});
  return places;
}

}  // namespace dlt

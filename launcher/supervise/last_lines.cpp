// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/last_lines.h"

#include <algorithm>
#include <utility>

namespace dlt::supervise {
namespace {

bool says_something(std::string_view line) {
  return std::any_of(line.begin(), line.end(), [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9');
  });
}

}  // namespace

void LastLines::add(std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    open_ += part.substr(0, kLineBytes - std::min(kLineBytes, open_.size()));
    if (end == std::string_view::npos) return;
    if (says_something(open_)) ended_.push_back(std::move(open_));
    if (ended_.size() > kLines) ended_.pop_front();
    open_.clear();
    piece.remove_prefix(end + 1);
  }
}

std::vector<std::string> LastLines::lines() const {
  std::vector<std::string> out(ended_.begin(), ended_.end());
  if (says_something(open_)) out.push_back(open_);
  if (out.size() > kLines) out.erase(out.begin());
  return out;
}

void LastLines::clear() {
  ended_.clear();
  open_.clear();
}

}  // namespace dlt::supervise

// SPDX-License-Identifier: Apache-2.0
#include "data/bad_samples.h"

#include <utility>

namespace dlt::data {

void BadSamples::add(std::int64_t sample, const std::string& problem) {
  const std::lock_guard lock(mutex_);
  news_ = seen_.emplace(sample, problem).second || news_;
}

std::vector<std::string> BadSamples::take_news() {
  std::vector<std::string> out;
  const std::lock_guard lock(mutex_);
  if (!news_) return out;
  for (auto& [sample, problem] : seen_) {
    if (!problem.empty()) out.push_back(std::exchange(problem, {}));
  }
  news_ = false;
  return out;
}

std::vector<std::int64_t> BadSamples::samples() const {
  std::vector<std::int64_t> out;
  const std::lock_guard lock(mutex_);
  for (const auto& [sample, problem] : seen_) out.push_back(sample);
  return out;
}

}  // namespace dlt::data

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace dlt::data {

/// A sample whose numbers cannot be used: not finite, or a label or token out of range. The only
/// defect of a file that data.on_bad: skip passes over.
class BadSample final : public Error {
 public:
  explicit BadSample(std::string message) : Error(Exit::data, std::move(message)) {}
};

/// Bad samples that readers passed over, each once. Any thread.
class BadSamples {
 public:
  /// problem: as the error says it, with file and row.
  void add(std::int64_t sample, const std::string& problem);
  /// What was added since the last call, in the order of samples.
  [[nodiscard]] std::vector<std::string> take_news();
  /// All so far, ascending.
  [[nodiscard]] std::vector<std::int64_t> samples() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::int64_t, std::string> seen_;  // the problem, "" once it was told
  bool news_ = false;
};

}  // namespace dlt::data

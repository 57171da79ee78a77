// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"

namespace dlt::observe {

/// Rows of numbers.
using Table = std::vector<std::vector<double>>;

/// A field of an event. NaN and infinities are written as the strings "nan", "inf", "-inf", tables
/// as lists of lists.
using FieldValue = std::variant<std::int64_t, double, bool, std::string, Table>;
using Fields = std::vector<std::pair<std::string, FieldValue>>;

/// events.jsonl: one JSON object a line, flushed a line at a time. Every line has ev, t_mono and
/// t_wall (seconds) and generation. Opened for append, so a resumed run goes on in the same file; a
/// torn last line (power cut) is closed by a newline before the next.
class EventLog {
 public:
  /// errors  Error(Exit::io) if the file cannot be opened
  EventLog(const std::string& path, const Clock& clock, std::int64_t generation);
  ~EventLog();
  /// Never throws: a full disk must not stop training; the first failure is reported to stderr
  /// once.
  void write(std::string_view event, const Fields& fields);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::observe

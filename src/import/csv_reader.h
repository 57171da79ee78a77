// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace dlt::import_ {

struct CsvField {
  std::string text;                   // without quotes, and without blanks around it if it had none
  std::int64_t line = 0, column = 0;  // counted from 1; column in bytes
  bool quoted = false;
};

/// Splits text into records as RFC 4180 has it: quotes, doubled quotes and line ends within them,
/// \n or \r\n. Empty lines are skipped.
class CsvReader {
 public:
  CsvReader(std::string file, std::string text, char delimiter);
  /// Next record, or false at the end. errors  Exit::data an open quote, text after a closing one,
  /// bytes that are not text
  bool next(std::vector<CsvField>& fields);
  /// "a.csv:12:5"
  [[nodiscard]] std::string where(const CsvField& field) const;

 private:
  CsvField read_field();
  void read_quoted(CsvField& field);
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] bool at_line_end() const;
  void skip_line_end();

  std::string file_;
  std::string text_;
  char delimiter_;
  std::size_t at_ = 0;
  std::size_t line_begin_ = 0;
  std::int64_t line_ = 1;
};

}  // namespace dlt::import_

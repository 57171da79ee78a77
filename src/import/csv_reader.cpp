// SPDX-License-Identifier: Apache-2.0
#include "import/csv_reader.h"

#include <string_view>

#include "base/text.h"

namespace dlt::import_ {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

CsvReader::CsvReader(std::string file, std::string text, char delimiter)
    : file_(std::move(file)), text_(std::move(text)), delimiter_(delimiter) {
  if (text_.starts_with("\xEF\xBB\xBF")) at_ = line_begin_ = 3;  // byte order mark
  const std::size_t nul = text_.find('\0');
  if (nul != std::string::npos) {
    throw Error(Exit::data, cat(file_, ": byte ", nul, " is NUL; expected text (UTF-8)"));
  }
}

std::string CsvReader::where(const CsvField& field) const {
  return cat(file_, ":", field.line, ":", field.column);
}

bool CsvReader::at_line_end() const {
  return text_[at_] == '\n' ||
         (text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n'));
}

void CsvReader::skip_line_end() {
  if (text_[at_] == '\r') ++at_;
  if (!at_end() && text_[at_] == '\n') ++at_;
  ++line_;
  line_begin_ = at_;
}

bool CsvReader::next(std::vector<CsvField>& fields) {
  fields.clear();
  while (!at_end() && at_line_end()) skip_line_end();
  if (at_end()) return false;
  while (true) {
    fields.push_back(read_field());
    if (at_end()) return true;
    if (at_line_end()) {
      skip_line_end();
      return true;
    }
    ++at_;  // the delimiter
  }
}

CsvField CsvReader::read_field() {
  CsvField field;
  while (!at_end() && is_blank(text_[at_]) && text_[at_] != delimiter_) ++at_;
  field.line = line_;
  field.column = static_cast<std::int64_t>(at_ - line_begin_) + 1;
  if (!at_end() && text_[at_] == '"') {
    read_quoted(field);
    return field;
  }
  const std::size_t begin = at_;
  while (!at_end() && text_[at_] != delimiter_ && !at_line_end()) ++at_;
  std::size_t end = at_;
  while (end > begin && is_blank(text_[end - 1])) --end;
  field.text = text_.substr(begin, end - begin);
  return field;
}

void CsvReader::read_quoted(CsvField& field) {
  field.quoted = true;
  ++at_;
  while (true) {
    if (at_end()) {
      throw Error(Exit::data, cat(where(field), ": this quote is never closed"));
    }
    const char c = text_[at_++];
    if (c == '"') {
      if (at_end() || text_[at_] != '"') break;
      ++at_;
    } else if (c == '\n') {
      ++line_;
      line_begin_ = at_;
    }
    field.text += c;
  }
  while (!at_end() && is_blank(text_[at_]) && text_[at_] != delimiter_) ++at_;
  if (!at_end() && text_[at_] != delimiter_ && !at_line_end()) {
    throw Error(Exit::data, cat(file_, ":", line_, ":", at_ - line_begin_ + 1,
                                ": text after a closing quote; expected '", delimiter_,
                                "' or the end of the line (a quote inside is written twice)"));
  }
}

}  // namespace dlt::import_

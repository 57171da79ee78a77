// SPDX-License-Identifier: Apache-2.0
#include "config/source_text.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace dlt::config {

SourceText::SourceText(std::string name, std::string_view text, int first_column)
    : name_(std::move(name)), first_column_(first_column) {
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  text_.reserve(text.size());
  line_starts_.push_back(0);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    text_ += text[i];
    if (text[i] == '\n') line_starts_.push_back(text_.size());
  }
}

Mark SourceText::mark(std::size_t offset, int length) {
  offset = std::min(offset, text_.size());
  const auto next = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  const auto line = static_cast<std::size_t>(next - line_starts_.begin()) - 1;
  if (line != last_line_ || offset < last_offset_) {
    last_line_ = line;
    last_offset_ = line_starts_[line];
    last_column_ = 0;
  }
  last_column_ += num_chars(std::string_view(text_).substr(last_offset_, offset - last_offset_));
  last_offset_ = offset;
  const int column = last_column_ + (line == 0 ? first_column_ : 1);
  return {name_, static_cast<int>(line) + 1, column, length};
}

std::string_view SourceText::line(std::size_t offset) const {
  offset = std::min(offset, text_.size());
  const std::string_view text = text_;
  const std::size_t before = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
  const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
  return text.substr(begin, text.find('\n', offset) - begin);
}

int num_chars(std::string_view text) {
  int count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode_utf8(text).num_bytes);
  return count;
}

std::optional<BadChar> find_bad_char(std::string_view text) {
  for (std::size_t offset = 0; offset < text.size();) {
    const std::string_view rest = text.substr(offset);
    const Utf8Char c = decode_utf8(rest);
    const bool control = (c.code < 0x20 && c.code != '\t' && c.code != '\n') ||
                         (c.code >= 0x7f && c.code < 0xa0) || c.code == 0xfffe || c.code == 0xffff;
    if (!c.valid || control) {
      return BadChar{offset, c.valid, printable(rest.substr(0, c.num_bytes))};
    }
    offset += c.num_bytes;
  }
  return std::nullopt;
}

}  // namespace dlt::config

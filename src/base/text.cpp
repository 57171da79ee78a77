// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <algorithm>
#include <cstdint>
#include <iomanip>

namespace dlt {

void print_characters(std::ostream& out, const void* value) {
  out << static_cast<const char*>(value);
}

std::string text_of_parts(std::span<const PartOfText> parts) {
  std::ostringstream out;
  for (const PartOfText& part : parts) part.print(out, part.value);
  return out.str();
}

Utf8Char decode_utf8(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {lead, 1, false};
  std::uint32_t code = lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return {lead, 1, false};
    code = (code << 6) | (byte(i) & 0x3fu);
  }
  const std::uint32_t least = length == 4 ? 0x10000u : length == 3 ? 0x800u : 0x80u;
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return {lead, 1, false};
  }
  return {code, length, true};
}

namespace {

std::string hex(std::uint32_t value, int digits) {
  std::string text;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    text += "0123456789abcdef"[(value >> shift) & 15u];
  }
  return text;
}

/// Characters that could move the cursor or reorder the rest of the line.
bool is_control(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

std::string escaped(std::string_view text, const Utf8Char& c) {
  if (c.valid && !is_control(c.code)) return std::string(text.substr(0, c.num_bytes));
  switch (c.code) {
    case '\n':
      return "\\n";
    case '\t':
      return "\\t";
    case '\r':
      return "\\r";
    default:
      return c.code < 0x100 ? "\\x" + hex(c.code, 2) : "\\u" + hex(c.code, 4);
  }
}

std::string folded(std::string_view word) {
  std::string result(word);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-' || c == ' ') c = '_';
  }
  return result;
}

/// Edits (insert, delete, replace, swap of neighbours) that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string printable(std::string_view text, std::size_t max_chars) {
  constexpr std::string_view kMore = "...";
  std::string result;
  std::size_t width = 0;
  std::size_t cut_bytes = 0;  // of result, where "..." still fits
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    const std::string piece = escaped(text, c);
    width += c.valid && !is_control(c.code) ? 1 : piece.size();
    if (width > max_chars) {
      result.resize(cut_bytes);
      return result += kMore.substr(0, max_chars);
    }
    result += piece;
    if (width + kMore.size() <= max_chars) cut_bytes = result.size();
    text.remove_prefix(c.num_bytes);
  }
  return result;
}

std::string mebibytes(std::int64_t num_bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << static_cast<double>(num_bytes) / (1 << 20) << " MiB";
  return out.str();
}

std::string counted(long long n, const std::string& one, const std::string& many) {
  return cat(n, " ", n == 1 ? one : many);
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  std::string result;
  for (const std::string& word : words) {
    if (&word != &words.front()) result += separator;
    result += word;
  }
  return result;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 256) return {};  // nobody misspells at that length, and the cost is quadratic
  const std::string wanted = folded(word);
  std::size_t best_distance = std::max<std::size_t>(1, (wanted.size() + 1) / 3) + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > 256) continue;
    const std::size_t distance = edit_distance(wanted, folded(candidate));
    // A word no longer than its distance shares no letter with the candidate.
    if (distance < best_distance && distance < std::max(wanted.size(), candidate.size())) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace dlt

// SPDX-License-Identifier: Apache-2.0
#include "config/diagnostics.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "config/node.h"

namespace dlt::config {

namespace {

constexpr std::size_t kMaxPrinted = 20;
constexpr std::size_t kMaxKept = 2000;  // a hostile file can hold a mistake every few bytes
constexpr std::size_t kMaxQuoted = 140;
constexpr std::size_t kMaxText = 4096;  // of a key, message or hint, which no honest one reaches

/// Columns that a terminal gives a character.
std::size_t display_width(std::uint32_t code) {
  const auto in = [code](std::uint32_t first, std::uint32_t last) {
    return code >= first && code <= last;
  };
  if (in(0x300, 0x36f) || in(0x200b, 0x200d) || in(0xfe00, 0xfe0f)) return 0;  // combining
  const bool wide = in(0x1100, 0x115f) || in(0x2e80, 0xa4cf) || in(0xac00, 0xd7a3) ||
                    in(0xf900, 0xfaff) || in(0xfe30, 0xfe6f) || in(0xff00, 0xff60) ||
                    in(0xffe0, 0xffe6) || in(0x1f300, 0x1faff) || in(0x20000, 0x3fffd);
  return wide ? 2 : 1;
}

/// Line number `line` (1-based) of text, without its end.
std::string_view line_of(std::string_view text, int line) {
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  for (int i = 1; i < line; ++i) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  return text;
}

/// A source line and the line under it with the carets, for the characters [first, first + length).
struct Quote {
  std::string line, carets;
};

Quote quoted_line(std::string_view line, std::size_t first, std::size_t length) {
  Quote result;
  const std::size_t begin = first > kMaxQuoted / 2 ? first - kMaxQuoted / 2 : 0;
  if (begin > 0) {
    result.line = "...";
    result.carets = "   ";
  }
  std::size_t index = 0;
  bool underlined = false;
  for (; !line.empty() && index < begin + kMaxQuoted; ++index) {
    const Utf8Char c = decode_utf8(line);
    const std::string_view bytes = line.substr(0, c.num_bytes);
    line.remove_prefix(c.num_bytes);
    if (index < begin) continue;
    const bool tab = c.valid && c.code == '\t';
    const std::string shown = tab ? "\t" : printable(bytes);
    result.line += shown;
    // An escape such as \x1b is as wide as it is long.
    const std::size_t width = shown == bytes ? display_width(c.code) : shown.size();
    if (index < first) {
      result.carets += tab ? "\t" : std::string(width, ' ');
    } else if (index < first + length) {
      if (!underlined) result.carets += '^';
      result.carets.append(underlined ? width : std::max<std::size_t>(width, 1) - 1, '~');
      underlined = true;
    }
  }
  if (!underlined) result.carets += '^';  // the place is the end of the line
  if (!line.empty()) result.line += "...";
  return result;
}

}  // namespace

void Diagnostics::error(const Mark& mark, const std::string& key, const std::string& message,
                        const std::string& hint) {
  if (sealed_) return;
  ++num_mistakes_;
  if (entries_.size() < kMaxKept) entries_.push_back({mark, key, message, hint});
}

void Diagnostics::add_source(const std::string& source, const std::string& text) {
  const std::size_t index = source_index(source);
  if (index == sources_.size()) sources_.push_back({source, {}});
  sources_[index].text = text;
}

std::size_t Diagnostics::source_index(const std::string& name) const {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const Source& source) { return source.name == name; });
  return static_cast<std::size_t>(found - sources_.begin());
}

void Diagnostics::print(const Entry& entry, std::string& out) const {
  const Mark& mark = entry.mark;
  out += cat(printable(mark.source, kMaxText), ":", mark.line, ":", mark.column, ": error: ");
  if (!entry.key.empty()) out += printable(entry.key, kMaxText) + ": ";
  out += printable(entry.message, kMaxText) + "\n";
  const std::size_t index = source_index(mark.source);
  if (index < sources_.size() && mark.line > 0 && mark.column > 0) {
    const Quote quoted = quoted_line(line_of(sources_[index].text, mark.line),
                                     static_cast<std::size_t>(mark.column) - 1,
                                     static_cast<std::size_t>(std::max(mark.length, 1)));
    const std::string number = std::to_string(mark.line);
    out += cat("  ", number, " | ", quoted.line, "\n");
    out += cat("  ", std::string(number.size(), ' '), " | ", quoted.carets, "\n");
  }
  if (!entry.hint.empty()) out += "  hint: " + printable(entry.hint, kMaxText) + "\n";
}

std::string Diagnostics::text() const {
  std::vector<const Entry*> order;
  for (const Entry& entry : entries_) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [this](const Entry* a, const Entry* b) {
    const std::size_t a_source = source_index(a->mark.source);
    const std::size_t b_source = source_index(b->mark.source);
    if (a_source != b_source) return a_source < b_source;
    if (a_source == sources_.size()) return false;  // several --set have one name: as recorded
    if (a->mark.line != b->mark.line) return a->mark.line < b->mark.line;
    return a->mark.column < b->mark.column;
  });
  std::string out;
  for (std::size_t i = 0; i < std::min(order.size(), kMaxPrinted); ++i) print(*order[i], out);
  if (num_mistakes_ > kMaxPrinted) {
    const std::size_t more = num_mistakes_ - kMaxPrinted;
    out += cat("and ", more, more == 1 ? " more mistake\n" : " more mistakes\n");
  }
  return out;
}

Diagnostics::Diagnostics()
    : defaults_(std::make_unique<std::vector<std::pair<std::string, Node>>>()) {}
Diagnostics::~Diagnostics() = default;
Diagnostics::Diagnostics(Diagnostics&&) noexcept = default;
Diagnostics& Diagnostics::operator=(Diagnostics&&) noexcept = default;

void Diagnostics::note_default(const std::string& path, Node value) {
  defaults_->emplace_back(path, std::move(value));
}

const std::vector<std::pair<std::string, Node>>& Diagnostics::defaults() const {
  return *defaults_;
}

void Diagnostics::throw_if_any() const {
  if (!ok()) throw Error(Exit::config, text());
}

}  // namespace dlt::config

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "config/node.h"

namespace dlt::config {

namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Whether every YAML reader takes the plain word for text, or, if it was plain in the file, for
/// what it was there.
bool is_plain(const std::string& text, bool quoted) {
  constexpr std::string_view kFirst = "_/0123456789.-";
  constexpr std::string_view kInner = "_/0123456789.-+%=@~";
  const auto in = [](std::string_view set, char c) {
    return set.find(c) != std::string_view::npos || kLetters.find(c) != std::string_view::npos;
  };
  if (text.empty() || !in(kFirst, text[0])) return false;
  if (!std::all_of(text.begin(), text.end(), [&](char c) { return in(kInner, c); })) return false;
  if (text.find_first_not_of("-.") == std::string::npos) return false;  // - -- --- ...
  std::string word = text;
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (word == "null") return false;
  constexpr std::array<std::string_view, 8> kWords{"true", "false", "yes", "no",
                                                   "on",   "off",   "y",   "n"};
  const bool looks_typed = std::find(kWords.begin(), kWords.end(), word) != kWords.end() ||
                           (kLetters.find(text[0]) == std::string_view::npos && text[0] != '/');
  return !quoted || !looks_typed;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    const std::string_view bytes = text.substr(0, c.num_bytes);
    if (bytes == "\"" || bytes == "\\") out += '\\';
    // Escapes control characters with \n, \t, \r, \x1b and \u202e, all of which YAML knows.
    out += printable(bytes);
    text.remove_prefix(c.num_bytes);
  }
  return out + "\"";
}

std::string scalar_text(const std::string& text, bool quoted) {
  return is_plain(text, quoted) ? text : in_quotes(text);
}

bool is_flow(const Node& node) {
  if (node.kind == Kind::map) return node.entries.empty();
  if (node.kind != Kind::sequence) return true;
  return std::all_of(node.items.begin(), node.items.end(), [](const Node& item) {
    return item.kind == Kind::scalar || item.kind == Kind::null ||
           (item.kind == Kind::sequence && is_flow(item));
  });
}

std::string flow(const Node& node) {
  switch (node.kind) {
    case Kind::null:
      return "null";
    case Kind::scalar:
      return scalar_text(node.scalar, node.quoted);
    case Kind::map:
      return "{}";  // others are written in block style
    case Kind::sequence:
      break;
  }
  std::string out = "[";
  for (const Node& item : node.items) {
    if (&item != &node.items.front()) out += ", ";
    out += flow(item);
  }
  return out + "]";
}

/// Writes a list or map that is not in flow style; the first line stands where the writer is.
void write_block(const Node& node, std::size_t indent, std::string& out) {
  bool first = true;
  const auto start_line = [&] {
    if (!first) out.append(indent, ' ');
    first = false;
  };
  for (const Node& item : node.items) {
    start_line();
    out += "- ";
    if (is_flow(item)) {
      out += flow(item) + "\n";
    } else {
      write_block(item, indent + 2, out);
    }
  }
  for (const Node::Entry& entry : node.entries) {
    start_line();
    out += scalar_text(entry.key, true) + ":";
    if (is_flow(entry.value)) {
      out += " " + flow(entry.value) + "\n";
    } else {
      out += "\n" + std::string(indent + 2, ' ');
      write_block(entry.value, indent + 2, out);
    }
  }
}

}  // namespace

std::string to_yaml(const Node& node) {
  if (is_flow(node)) return flow(node) + "\n";
  std::string out;
  write_block(node, 0, out);
  return out;
}

}  // namespace dlt::config

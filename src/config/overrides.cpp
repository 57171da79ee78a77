// SPDX-License-Identifier: Apache-2.0
// --set a.b=v: the value v, parsed as YAML, replaces what the file says at a.b.
#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "config/parser.h"
#include "config/scalars.h"

namespace dlt::config {

namespace {

const char* const kSource = "--set";

struct Segment {
  std::string key;
  Mark mark;
};

/// The keys before the '='; none if there was a mistake, which is recorded.
std::vector<Segment> split_path(std::string_view text, std::string_view whole,
                                Diagnostics& diagnostics) {
  std::vector<Segment> segments;
  int column = 1;
  for (;;) {
    const std::string_view key = text.substr(0, text.find('.'));
    const int length = num_chars(key);
    const Mark mark{kSource, 1, column, length};
    if (key.empty()) {
      diagnostics.error(
          mark, "", cat("expected KEY.KEY=VALUE, got an empty key in '", printable(whole), "'"));
      return {};
    }
    segments.push_back({std::string(key), mark});
    if (segments.size() > static_cast<std::size_t>(kMaxDepth)) {
      diagnostics.error(mark, "", cat("lists and maps are nested deeper than ", kMaxDepth));
      return {};
    }
    if (key.size() == text.size()) return segments;
    text.remove_prefix(key.size() + 1);
    column += length + 1;
  }
}

/// The item of a list that a segment names, or null after a recorded mistake.
Node* find_item(Node& list, const Segment& segment, const std::string& path,
                Diagnostics& diagnostics) {
  Node index;
  index.kind = Kind::scalar;
  index.scalar = segment.key;
  const auto size = static_cast<std::int64_t>(list.items.size());
  const auto value = to_integer(index);
  if (value && *value >= 0 && *value < size) {
    return &list.items[static_cast<std::size_t>(*value)];
  }
  const std::string wanted =
      size == 0 ? "nothing, the list is empty" : expected(IntegerRule{.min = 0, .max = size - 1});
  diagnostics.error(segment.mark, join_path(path, segment.key),
                    cat("expected ", wanted, ", got '", printable(segment.key), "'"));
  return nullptr;
}

/// The value of a key, made if it is missing.
Node& find_or_make(Node& map, const Segment& segment) {
  for (Node::Entry& entry : map.entries) {
    if (entry.key == segment.key) return entry.value;
  }
  Node empty;
  empty.mark = segment.mark;
  map.entries.push_back({segment.key, segment.mark, std::move(empty)});
  return map.entries.back().value;
}

/// Checks that all of the path can be entered, without changing anything; records the mistake.
bool can_enter(Node& root, const std::vector<Segment>& segments, Diagnostics& diagnostics) {
  Node* node = &root;
  std::string path;
  for (std::size_t i = 0; i < segments.size() && node != nullptr; ++i) {
    const Segment& segment = segments[i];
    if (node->kind == Kind::sequence) {
      node = find_item(*node, segment, path, diagnostics);
      if (node == nullptr) return false;
    } else if (node->kind == Kind::scalar) {
      const Mark& mark = i == 0 ? segment.mark : segments[i - 1].mark;
      diagnostics.error(
          mark, path,
          cat("expected a map with the key '", printable(segment.key), "', got ", describe(*node)));
      return false;
    } else {
      Node* next = nullptr;
      for (Node::Entry& entry : node->entries) {
        if (entry.key == segment.key) next = &entry.value;
      }
      node = next;  // none: the rest of the path will be made
    }
    path = join_path(path, segment.key);
  }
  return true;
}

void set(Node& root, const std::vector<Segment>& segments, Node value) {
  Node* node = &root;
  for (const Segment& segment : segments) {
    if (node->kind == Kind::sequence) {
      Diagnostics none;
      node = find_item(*node, segment, "", none);
      continue;
    }
    if (node->kind == Kind::null) {
      node->kind = Kind::map;
      node->scalar.clear();
    }
    Node& child = find_or_make(*node, segment);
    if (&segment == &segments.back()) {
      for (Node::Entry& entry : node->entries) {
        if (entry.key == segment.key) entry.key_mark = segment.mark;
      }
    }
    node = &child;
  }
  *node = std::move(value);
}

}  // namespace

void apply_override(Node& root, const std::string& text, Diagnostics& diagnostics) {
  const auto bad = find_bad_char(text);
  const std::size_t blank = std::min(text.find('\n'), text.substr(0, text.find('=')).find('\t'));
  if (bad || blank != std::string::npos) {
    const std::size_t offset = bad ? bad->offset : blank;
    diagnostics.error({kSource, 1, num_chars(text.substr(0, offset)) + 1, 1}, "",
                      cat(bad && !bad->is_utf8 ? "expected UTF-8, got '"
                                               : "control characters are not allowed, got '",
                          printable(text), "'"));
    return;
  }
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    diagnostics.error({kSource, 1, 1, num_chars(text)}, "",
                      cat("expected KEY.KEY=VALUE, got '", printable(text), "'"));
    return;
  }
  const std::string path = text.substr(0, equals);
  const std::vector<Segment> segments = split_path(path, text, diagnostics);
  if (segments.empty() || !can_enter(root, segments, diagnostics)) return;

  const int column = num_chars(path) + 2;
  SourceText source(kSource, std::string_view(text).substr(equals + 1), column);
  ParseResult result =
      parse_yaml(source, {.path = path, .depth = static_cast<int>(segments.size())}, diagnostics);
  if (!result.is_yaml) return;
  Node value = std::move(result.root).value_or(Node());
  if (value.mark.line == 0) value.mark = {kSource, 1, column, 1};
  set(root, segments, std::move(value));
}

}  // namespace dlt::config

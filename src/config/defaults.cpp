// SPDX-License-Identifier: Apache-2.0
// The resolved configuration: the file's tree, and every default that a reader took.
#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "config/node.h"

namespace dlt::config {

namespace {

Node scalar_node(std::string text) {
  Node node;
  node.kind = Kind::scalar;
  node.scalar = std::move(text);
  return node;
}

template <typename T>
Node number_node(T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  return scalar_node(std::string(digits, end.ptr));
}

/// A word that stands for a map of options: `relu` before relu.alpha is {relu: {}}, `adam` before
/// eps is {name: adam}.
void open_word(Node& node, std::string_view next) {
  Node word = scalar_node(std::exchange(node.scalar, ""));
  word.quoted = std::exchange(node.quoted, false);
  node.kind = Kind::map;
  if (word.scalar == next) return;
  node.entries.push_back({.key = "name", .key_mark = node.mark, .value = std::move(word)});
}

Node* child_of(Node& node, const std::string& key) {
  if (node.kind == Kind::sequence) {
    if (key == "layers") return &node;  // {residual: [...]} is {residual: {layers: [...]}}
    std::size_t index = 0;
    const auto end = std::from_chars(key.data(), key.data() + key.size(), index);
    const bool good = end.ec == std::errc() && index < node.items.size();
    return good ? &node.items[index] : nullptr;
  }
  if (node.kind == Kind::scalar) open_word(node, key);
  node.kind = Kind::map;
  const auto it = std::find_if(node.entries.begin(), node.entries.end(),
                               [&](const Node::Entry& entry) { return entry.key == key; });
  if (it != node.entries.end()) return &it->value;
  node.entries.push_back({.key = key, .key_mark = node.mark, .value = {}});
  return &node.entries.back().value;
}

}  // namespace

Node default_node(std::int64_t value) { return number_node(value); }
Node default_node(double value) { return number_node(value); }
Node default_node(bool value) { return scalar_node(value ? "true" : "false"); }
Node default_node(const std::string& value) {
  Node node = scalar_node(value);
  // A text default that looks like a number or a truth value stays text when read again.
  node.quoted = to_number(node) || to_boolean(node) || value.empty();
  return node;
}

void add_defaults(Node& root, const Diagnostics& diagnostics) {
  for (const auto& [path, value] : diagnostics.defaults()) {
    Node* node = &root;
    std::string_view rest = path;
    while (node != nullptr && !rest.empty()) {
      const std::size_t dot = std::min(rest.find('.'), rest.size());
      node = child_of(*node, std::string(rest.substr(0, dot)));
      rest.remove_prefix(std::min(dot + 1, rest.size()));
    }
    if (node != nullptr && node->kind == Kind::null) *node = value;
  }
}

}  // namespace dlt::config

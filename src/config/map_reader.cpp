// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "config/node.h"
#include "config/parser.h"
#include "config/scalars.h"

namespace dlt::config {

namespace {

std::string quoted_list(const std::vector<std::string>& words) {
  return words.size() == 1 ? words[0] : cat("one of ", join(words));
}

std::string spelling_hint(const std::string& word, const std::vector<std::string>& legal) {
  const std::string near = nearest(word, legal);
  const std::string all = cat("legal: ", legal.empty() ? "none" : join(legal));
  return near.empty() ? all : cat("did you mean '", near, "'?  ", all);
}

bool is_auto(const Node& node) { return node.kind == Kind::scalar && node.scalar == "auto"; }

}  // namespace

MapReader::MapReader(const Node* node, std::string path, Mark parent_mark, Diagnostics& diagnostics)
    : path_(std::move(path)), mark_(std::move(parent_mark)), diagnostics_(&diagnostics) {
  if (node == nullptr) return;
  if (node->kind == Kind::map) {
    node_ = node;
    mark_ = node->mark;
    return;
  }
  broken_ = true;
  diagnostics.error(node->mark, path_, "expected a map, got " + describe(*node));
}

const Node* MapReader::take(const std::string& key) {
  known_.push_back(key);
  return node_ == nullptr ? nullptr : node_->find(key);
}

void MapReader::missing(const std::string& key, const std::string& wanted) {
  if (broken_) return;  // that it is no map was said
  diagnostics_->error(mark_, join_path(path_, key), cat("expected ", wanted, ", got nothing"),
                      "this key is required");
}

void MapReader::wrong(const Node& node, const std::string& path, const std::string& wanted,
                      const std::string& hint) {
  diagnostics_->error(node.mark, path, cat("expected ", wanted, ", got ", describe(node)), hint);
}

std::optional<std::int64_t> MapReader::checked_integer(const Node& node, const std::string& path,
                                                       IntegerRule rule, const char* or_else) {
  const auto value = to_integer(node);
  if (value && allows(rule, *value)) return value;
  wrong(node, path, expected(rule) + or_else, integer_hint(node));
  return std::nullopt;
}

std::optional<double> MapReader::checked_number(const Node& node, const std::string& path,
                                                NumberRule rule, const char* or_else) {
  const auto value = to_number(node);
  if (value && allows(rule, *value)) return value;
  wrong(node, path, expected(rule) + or_else, number_hint(node));
  return std::nullopt;
}

namespace {

template <typename T>
Node default_list(const std::vector<T>& values) {
  Node list;
  list.kind = Kind::sequence;
  for (const T value : values) list.items.push_back(default_node(value));
  return list;
}
Node noted(const std::vector<std::int64_t>& values) { return default_list(values); }
Node noted(const std::vector<double>& values) { return default_list(values); }
template <typename T>
Node noted(const T& value) {
  return default_node(value);
}

}  // namespace

template <typename T>
T MapReader::absent(const std::string& key, const std::string& wanted, std::optional<T> fallback) {
  if (!fallback) {
    missing(key, wanted);
    return T{};
  }
  diagnostics_->note_default(join_path(path_, key), noted(*fallback));
  return std::move(*fallback);
}

std::int64_t MapReader::integer(const std::string& key, IntegerRule rule,
                                std::optional<std::int64_t> fallback) {
  const Node* node = take(key);
  if (node == nullptr) return absent(key, expected(rule), fallback);
  return checked_integer(*node, join_path(path_, key), rule, "").value_or(fallback.value_or(0));
}

double MapReader::number(const std::string& key, NumberRule rule, std::optional<double> fallback) {
  const Node* node = take(key);
  if (node == nullptr) return absent(key, expected(rule), fallback);
  return checked_number(*node, join_path(path_, key), rule, "").value_or(fallback.value_or(0));
}

bool MapReader::boolean(const std::string& key, std::optional<bool> fallback) {
  const Node* node = take(key);
  if (node == nullptr) return absent<bool>(key, "true or false", fallback);
  if (const auto value = to_boolean(*node)) return *value;
  wrong(*node, join_path(path_, key), "true or false", boolean_hint(*node));
  return fallback.value_or(false);
}

std::string MapReader::text(const std::string& key, std::optional<std::string> fallback) {
  const Node* node = take(key);
  if (node == nullptr) return absent(key, "text", std::move(fallback));
  const bool is_text = node->kind == Kind::scalar && !to_number(*node) && !to_boolean(*node);
  if (is_text) return node->scalar;
  const bool quotable = node->kind == Kind::scalar;
  wrong(*node, join_path(path_, key), "text",
        quotable ? cat("quote it: '", printable(node->scalar), "'") : "");
  return std::move(fallback).value_or("");
}

std::string MapReader::choice(const std::string& key, const std::vector<std::string>& legal,
                              std::optional<std::string> fallback) {
  const Node* node = take(key);
  if (node == nullptr) return absent(key, quoted_list(legal), std::move(fallback));
  const bool is_legal = node->kind == Kind::scalar &&
                        std::find(legal.begin(), legal.end(), node->scalar) != legal.end();
  if (is_legal) return node->scalar;
  const std::string near = node->kind == Kind::scalar ? nearest(node->scalar, legal) : "";
  wrong(*node, join_path(path_, key), quoted_list(legal),
        near.empty() ? "" : cat("did you mean '", near, "'?"));
  return std::move(fallback).value_or("");
}

std::optional<std::int64_t> MapReader::integer_or_auto(const std::string& key, IntegerRule rule) {
  const Node* node = take(key);
  if (node == nullptr) (void)absent<std::string>(key, "", "auto");
  if (node == nullptr || is_auto(*node)) return std::nullopt;
  return checked_integer(*node, join_path(path_, key), rule, " or 'auto'");
}

std::optional<double> MapReader::number_or_auto(const std::string& key, NumberRule rule) {
  const Node* node = take(key);
  if (node == nullptr) (void)absent<std::string>(key, "", "auto");
  if (node == nullptr || is_auto(*node)) return std::nullopt;
  return checked_number(*node, join_path(path_, key), rule, " or 'auto'");
}

std::vector<std::int64_t> MapReader::integers(const std::string& key, IntegerRule rule,
                                              std::optional<std::vector<std::int64_t>> fallback) {
  const Node* node = take(key);
  if (node == nullptr) {
    return absent(key, cat("a list, each item ", expected(rule)), std::move(fallback));
  }
  const std::string path = join_path(path_, key);
  std::vector<std::int64_t> values;
  if (node->kind != Kind::sequence) {
    const auto value = checked_integer(*node, path, rule, " or a list of such");
    if (value) values.push_back(*value);
    return value ? values : std::move(fallback).value_or(values);
  }
  bool good = true;
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const auto value =
        checked_integer(node->items[i], join_path(path, std::to_string(i)), rule, "");
    good = good && value;
    values.push_back(value.value_or(0));
  }
  return good ? values : std::move(fallback).value_or(std::vector<std::int64_t>{});
}

std::vector<double> MapReader::numbers(const std::string& key, NumberRule rule,
                                       std::optional<std::vector<double>> fallback) {
  const Node* node = take(key);
  if (node == nullptr) {
    return absent(key, cat("a list, each item ", expected(rule)), std::move(fallback));
  }
  const std::string path = join_path(path_, key);
  std::vector<double> values;
  if (node->kind != Kind::sequence) {
    const auto value = checked_number(*node, path, rule, " or a list of such");
    if (value) values.push_back(*value);
    return value ? values : std::move(fallback).value_or(values);
  }
  bool good = true;
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const auto value = checked_number(node->items[i], join_path(path, std::to_string(i)), rule, "");
    good = good && value;
    values.push_back(value.value_or(0));
  }
  return good ? values : std::move(fallback).value_or(std::vector<double>{});
}

const Node* MapReader::child(const std::string& key) { return take(key); }

MapReader MapReader::map(const std::string& key) {
  const Node* node = take(key);
  MapReader reader(node, join_path(path_, key), mark_, *diagnostics_);
  reader.broken_ = reader.broken_ || broken_;
  // What is missing in the child is told at its key, not at its first entry.
  for (std::size_t i = 0; node != nullptr && i < node_->entries.size(); ++i) {
    if (&node_->entries[i].value == node) reader.mark_ = node_->entries[i].key_mark;
  }
  return reader;
}

void MapReader::error(const std::string& key, const std::string& message, const std::string& hint) {
  diagnostics_->error(mark(key), key.empty() ? path_ : join_path(path_, key), message, hint);
}

void MapReader::finish() {
  if (node_ == nullptr) return;
  std::vector<std::string> legal = known_;
  std::sort(legal.begin(), legal.end());
  legal.erase(std::unique(legal.begin(), legal.end()), legal.end());
  for (const Node::Entry& entry : node_->entries) {
    if (std::binary_search(legal.begin(), legal.end(), entry.key)) continue;
    diagnostics_->error(entry.key_mark, join_path(path_, entry.key), "unknown key",
                        spelling_hint(entry.key, legal));
  }
}

bool MapReader::has(const std::string& key) const {
  return node_ != nullptr && node_->find(key) != nullptr;
}

Mark MapReader::mark(const std::string& key) const {
  const Node* node = node_ == nullptr || key.empty() ? nullptr : node_->find(key);
  return node == nullptr ? mark_ : node->mark;
}

}  // namespace dlt::config

// SPDX-License-Identifier: Apache-2.0
// A parsed YAML file in which every node knows its place, and strict typed readers over it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/diagnostics.h"

namespace dlt::config {

enum class Kind : std::uint8_t { null, scalar, sequence, map };

/// One YAML node. A map keeps the order of the file. Anchors and aliases are refused by the parser,
/// so a tree of nodes is never larger than the file.
struct Node {
  Kind kind = Kind::null;
  Mark mark;           // of the value
  std::string scalar;  // Kind::scalar: the text, quotes removed; Kind::null: "~", "null" or ""
  bool quoted = false;
  std::vector<Node> items;  // Kind::sequence
  struct Entry;
  std::vector<Entry> entries;  // Kind::map

  [[nodiscard]] const Node* find(std::string_view key) const;
};
struct Node::Entry {
  std::string key;
  Mark key_mark;
  Node value;
};

/// Reads one YAML file of at most 1 MiB and applies overrides "a.b=v" in order (v is parsed as
/// YAML; marks of an override say --set:1:COL, COL counted from the start of its "a.b=v" text).
/// Mistakes go to diagnostics: not YAML, several documents, depth over 64, duplicate keys (both
/// places named), anchors, aliases, tags, merge keys, non-string keys, control characters.
/// After text that is not YAML the diagnostics are sealed: what readers say of the empty tree is
/// dropped.
/// errors  Error(Exit::missing) if the file is not there; Exit::config if it is not a regular file,
///         too large, or not UTF-8
[[nodiscard]] Node load(const std::string& path, const std::vector<std::string>& overrides,
                        Diagnostics& diagnostics);
/// The same from text, for tests and defaults; name is what marks call the source.
[[nodiscard]] Node parse(const std::string& name, const std::string& text,
                         Diagnostics& diagnostics);

/// Canonical YAML text of a tree: block style for maps, flow style for lists of scalars; strings
/// are quoted where a reader could take them for something else. parse(to_yaml(n)) gives n again.
[[nodiscard]] std::string to_yaml(const Node& node);

/// The tree of a file with every key that readers asked for and did not find, each with the default
/// it took (as diagnostics noted). A word that has options, as `optimizer: adam` or a layer `relu`,
/// becomes the map it stands for.
void add_defaults(Node& root, const Diagnostics& diagnostics);
[[nodiscard]] Node default_node(std::int64_t value);
[[nodiscard]] Node default_node(double value);
[[nodiscard]] Node default_node(bool value);
[[nodiscard]] Node default_node(const std::string& value);

/// Strict scalar conversion. Refused: 010, 0x1F, 1_000, 1e3 for integers, yes/on for booleans,
/// .nan/.inf, quoted numbers, overflow.
[[nodiscard]] std::optional<std::int64_t> to_integer(const Node& node);
[[nodiscard]] std::optional<double> to_number(const Node& node);
[[nodiscard]] std::optional<bool> to_boolean(const Node& node);

struct IntegerRule {
  std::int64_t min = INT64_MIN;
  std::int64_t max = INT64_MAX;
};
struct NumberRule {
  double min = -1e308;
  double max = 1e308;
  bool min_open = false;  // min itself is not allowed
  bool max_open = false;
};

/// Reads the keys of one map, each once. A missing key gives the fallback; without a fallback the
/// key is required. Any mistake is recorded in diagnostics and the fallback (or zero) is returned,
/// so one pass finds them all. finish() reports unknown keys, with the nearest spelling and the
/// legal keys (every key that was asked for, alphabetical).
class MapReader {
 public:
  /// node may be null (all keys missing) and may be of the wrong kind (recorded, then treated as
  /// empty).
  MapReader(const Node* node, std::string path, Mark parent_mark, Diagnostics& diagnostics);

  std::int64_t integer(const std::string& key, IntegerRule rule,
                       std::optional<std::int64_t> fallback = {});
  double number(const std::string& key, NumberRule rule, std::optional<double> fallback = {});
  bool boolean(const std::string& key, std::optional<bool> fallback = {});
  std::string text(const std::string& key, std::optional<std::string> fallback = {});
  std::string choice(const std::string& key, const std::vector<std::string>& legal,
                     std::optional<std::string> fallback = {});
  /// An integer, or the word "auto" (nullopt).
  std::optional<std::int64_t> integer_or_auto(const std::string& key, IntegerRule rule);
  /// A number, or the word "auto" (nullopt).
  std::optional<double> number_or_auto(const std::string& key, NumberRule rule);
  /// A list of integers; a single integer is a list of one.
  std::vector<std::int64_t> integers(const std::string& key, IntegerRule rule,
                                     std::optional<std::vector<std::int64_t>> fallback = {});
  std::vector<double> numbers(const std::string& key, NumberRule rule,
                              std::optional<std::vector<double>> fallback = {});
  /// The child node as it is, or null if missing; marks the key as known.
  const Node* child(const std::string& key);
  /// A reader of a child map, its path extended by ".key".
  MapReader map(const std::string& key);

  /// Records a mistake at the value of key (or at the map itself if the key is missing).
  void error(const std::string& key, const std::string& message, const std::string& hint = {});
  /// Reports unknown keys. Call once, after all keys were asked for.
  void finish();
  [[nodiscard]] bool has(const std::string& key) const;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Diagnostics& diagnostics() { return *diagnostics_; }
  /// The place of the value of key, or of the map if it is missing.
  [[nodiscard]] Mark mark(const std::string& key) const;

 private:
  const Node* take(const std::string& key);
  /// The value of a key that is not there: its fallback, noted as such, or an empty value after a
  /// recorded mistake.
  template <typename T>
  T absent(const std::string& key, const std::string& wanted, std::optional<T> fallback);
  void missing(const std::string& key, const std::string& wanted);
  void wrong(const Node& node, const std::string& path, const std::string& wanted,
             const std::string& hint);
  std::optional<std::int64_t> checked_integer(const Node& node, const std::string& path,
                                              IntegerRule rule, const char* or_else);
  std::optional<double> checked_number(const Node& node, const std::string& path, NumberRule rule,
                                       const char* or_else);

  const Node* node_ = nullptr;
  std::string path_;
  Mark mark_;
  Diagnostics* diagnostics_;
  std::vector<std::string> known_;
  bool broken_ = false;  // the node is no map, which was said
};

}  // namespace dlt::config

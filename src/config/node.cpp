// SPDX-License-Identifier: Apache-2.0
#include "config/node.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "config/parser.h"

namespace dlt::config {

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 20;

std::string read_config(const std::string& path) {
  try {
    return read_file(path, {.max_bytes = kMaxBytes});
  } catch (const Error& error) {
    if (error.exit() != Exit::data) throw;
    throw Error(Exit::config, error.what(), "a config is a YAML file of at most 1 MiB");
  }
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

Node parse(const std::string& name, const std::string& text, Diagnostics& diagnostics) {
  diagnostics.add_source(name, text);
  SourceText source(name, text);
  ParseResult result = parse_yaml(source, {}, diagnostics);
  const bool empty =
      !result.root || (result.root->kind == Kind::null && result.root->scalar.empty());
  if (result.is_yaml && empty) {
    diagnostics.error(source.mark(0), "", "expected a map of keys and values, got an empty file");
    result.is_yaml = false;
  }
  if (!result.is_yaml) diagnostics.seal();
  Node root = std::move(result.root).value_or(Node());
  if (root.mark.line == 0) root.mark = source.mark(0);
  return root;
}

Node load(const std::string& path, const std::vector<std::string>& overrides,
          Diagnostics& diagnostics) {
  const std::string text = read_config(path);
  if (const auto bad = find_bad_char(SourceText(path, text).text()); bad && !bad->is_utf8) {
    Diagnostics own;  // not text at all: nothing else is worth saying
    (void)parse(path, text, own);
    own.throw_if_any();
  }
  Node root = parse(path, text, diagnostics);
  for (const std::string& override_text : overrides) {
    apply_override(root, override_text, diagnostics);
  }
  return root;
}

}  // namespace dlt::config

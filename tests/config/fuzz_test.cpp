// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <random>

#include <gtest/gtest.h>

#include "config/parser.h"
#include "config/tree_equal.h"

namespace dlt::config {
namespace {

const char* const kValid =
    "run:       {name: digits, dir: runs/digits, seed: 1}\n"
    "model:\n"
    "  input: [8, 8, 1]                       # one sample\n"
    "  layers:\n"
    "    - flatten\n"
    "    - dense: {units: 64, activation: relu}\n"
    "    - dense: {units: 10}\n"
    "loss: cross_entropy\n"
    "data:\n"
    "  train: {file: 'a b.h5', inputs: \"/train/\\u00fc\", scale: 0.0625}\n"
    "  text: |\n"
    "    some\n"
    "    lines\n"
    "  global_batch_size: 64\n"
    "optimizer:  {name: adam, learning_rate: 1e-3}\n";

class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    const std::size_t edits = 1 + below(4);
    for (std::size_t i = 0; i < edits; ++i) edit(text);
    return text;
  }
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }

 private:
  void edit(std::string& text) {
    static const std::vector<std::string> kPieces = {":",
                                                     ": ",
                                                     "- ",
                                                     "\n",
                                                     "\t",
                                                     "  ",
                                                     "[",
                                                     "]",
                                                     "{",
                                                     "}",
                                                     ",",
                                                     "'",
                                                     "\"",
                                                     "#",
                                                     " #",
                                                     "&a ",
                                                     "*a",
                                                     "!",
                                                     "!!int",
                                                     "|",
                                                     ">",
                                                     "|-\n",
                                                     "? ",
                                                     "---",
                                                     "...",
                                                     "<<:",
                                                     "%",
                                                     "%YAML",
                                                     "@",
                                                     "`",
                                                     "~",
                                                     "\\",
                                                     "\\x",
                                                     "\r",
                                                     "\x1b",
                                                     "\xff",
                                                     "\xc3",
                                                     "\xc3\xbc",
                                                     "\xef\xbb\xbf",
                                                     "\\u12",
                                                     "null",
                                                     "[[[[[[[[",
                                                     "a: ",
                                                     "\n\n",
                                                     "\n---\n",
                                                     "\n...\n",
                                                     "{a: 1, a: 2}",
                                                     "!<",
                                                     "&",
                                                     "*",
                                                     "\"\\"};
    const std::size_t at = below(text.size() + 1);
    switch (below(5)) {
      case 0:
        text.insert(at, kPieces[below(kPieces.size())]);
        break;
      case 1:
        text.erase(at, 1 + below(12));
        break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size() + 1), below(60)));
        break;
      default:
        text.resize(at);
    }
  }
  std::mt19937 random_;
};

std::uint32_t chosen_seed() {
  const char* given = std::getenv("DLTRAIN_FUZZ_SEED");
  return given != nullptr ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10))
                          : std::random_device{}();
}

/// Reads all nodes as everything they could be.
void read_all(const Node& node, Diagnostics& diagnostics) {
  MapReader reader(&node, "x", node.mark, diagnostics);
  for (const Node::Entry& entry : node.entries) {
    (void)reader.integer(entry.key, {.min = 1, .max = 10}, 1);
    (void)reader.number(entry.key, {}, 1.0);
    (void)reader.boolean(entry.key, true);
    (void)reader.text(entry.key, "");
    (void)reader.integers(entry.key, {}, std::vector<std::int64_t>{});
    if (entry.value.kind == Kind::map) read_all(entry.value, diagnostics);
  }
  MapReader(&node, "x", node.mark, diagnostics).finish();
}

TEST(Fuzz, MutatedYamlGivesATreeOrDiagnosticsNeverACrash) {
  const std::uint32_t seed = chosen_seed();
  SCOPED_TRACE("DLTRAIN_FUZZ_SEED=" + std::to_string(seed));
  Mutator mutator(seed);
  int num_good = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string text = mutator.mutate(kValid);
    Diagnostics diagnostics;
    Node root;
    ASSERT_NO_THROW(root = parse("f", text, diagnostics)) << text;
    if (diagnostics.ok()) {
      ++num_good;
      Diagnostics again;
      const std::string written = to_yaml(root);
      const Node copy = parse("f", written, again);
      ASSERT_EQ(again.text(), "") << text << "\n=>\n" << written;
      ASSERT_TRUE(tree_equal(copy, root)) << text << "\n=>\n" << written;
    }
    read_all(root, diagnostics);
    const std::string said = diagnostics.text();
    ASSERT_EQ(said.empty(), diagnostics.ok());
    for (const char c : said) {
      ASSERT_TRUE(c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20) << said;
    }
  }
  EXPECT_GT(num_good, 500);  // else the mutations are too coarse to reach the readers
}

TEST(Fuzz, MutatedOverridesGiveATreeOrDiagnosticsNeverACrash) {
  const std::uint32_t seed = chosen_seed();
  SCOPED_TRACE("DLTRAIN_FUZZ_SEED=" + std::to_string(seed));
  Mutator mutator(seed);
  const std::vector<std::string> valid = {"train.epochs=5", "model.layers.1.dense.units=7",
                                          "run={name: x, seed: [1, 'a', \"b\"]}", "a.b.c.d=~"};
  Diagnostics clean;
  const Node original = parse("f", kValid, clean);
  for (int i = 0; i < 6000; ++i) {
    const std::string text = mutator.mutate(valid[mutator.below(valid.size())]);
    Node root = original;
    Diagnostics diagnostics;
    ASSERT_NO_THROW(apply_override(root, text, diagnostics)) << text;
    if (diagnostics.ok()) {
      Diagnostics again;
      const Node copy = parse("f", to_yaml(root), again);
      ASSERT_EQ(again.text(), "") << text;
      ASSERT_TRUE(tree_equal(copy, root)) << text << "\n=>\n" << to_yaml(root);
    } else {
      ASSERT_EQ(diagnostics.text().rfind("--set:1:", 0), 0u) << diagnostics.text();
    }
  }
}

}  // namespace
}  // namespace dlt::config

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "config/tree_equal.h"

namespace dlt::config {
namespace {

Node text_node(std::string text) {
  Node node;
  node.kind = Kind::scalar;
  node.scalar = std::move(text);
  node.quoted = true;
  return node;
}

Node parsed_node(const std::string& text) {
  Diagnostics diagnostics;
  Node node = parse("f", text, diagnostics);
  EXPECT_EQ(diagnostics.text(), "") << text;
  return node;
}

TEST(ToYaml, WritesMapsInBlocksAndListsOfScalarsInFlow) {
  const std::string text =
      "run:\n"
      "  name: digits\n"
      "  seed: 1\n"
      "model:\n"
      "  input: [8, 8, 1]\n"
      "  layers:\n"
      "    - flatten\n"
      "    - dense:\n"
      "        units: 64\n"
      "        activation: relu\n"
      "    - - a: 1\n"
      "        b: 2\n"
      "      - x\n"
      "empty: {}\n"
      "none: []\n"
      "nothing: null\n"
      "nested: [[1, 2], []]\n";
  EXPECT_EQ(to_yaml(parsed_node(text)), text);
}

TEST(ToYaml, QuotesWhatCouldBeTakenForSomethingElse) {
  const std::pair<const char*, const char*> cases[] = {
      {"adam", "adam"},
      {"runs/digits", "runs/digits"},
      {"/train/images", "/train/images"},
      {"a b", "\"a b\""},
      {"", "\"\""},
      {"5", "\"5\""},
      {"-1", "\"-1\""},
      {".5", "\".5\""},
      {"1e3", "\"1e3\""},
      {"12:30", "\"12:30\""},
      {"true", "\"true\""},
      {"Yes", "\"Yes\""},
      {"n", "\"n\""},
      {"null", "\"null\""},
      {"Null", "\"Null\""},
      {"~", "\"~\""},
      {".nan", "\".nan\""},
      {"---", "\"---\""},
      {"-", "\"-\""},
      {"a: b", "\"a: b\""},
      {"a #b", "\"a #b\""},
      {"[x]", "\"[x]\""},
      {"*x", "\"*x\""},
      {"it's", "\"it's\""},
      {"say \"so\"", "\"say \\\"so\\\"\""},
      {"back\\slash", "\"back\\\\slash\""},
      {"two\nlines\tand", "\"two\\nlines\\tand\""},
      {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
      {"\xe2\x80\xa8", "\"\\u2028\""},
      {" lead", "\" lead\""},
      {"<<", "\"<<\""},
  };
  for (const auto& [text, written] : cases) {
    Node root;
    root.kind = Kind::map;
    root.entries.push_back({"k", {}, text_node(text)});
    EXPECT_EQ(to_yaml(root), std::string("k: ") + written + "\n");
    const Node again = parsed_node(to_yaml(root));
    EXPECT_EQ(again.find("k")->kind, Kind::scalar);
    EXPECT_EQ(again.find("k")->scalar, text);
    EXPECT_TRUE(tree_equal(again, root)) << text;
  }
}

TEST(ToYaml, PlainValuesStayPlain) {
  for (const char* text : {"5", "-0.5", "1e-05", "true", ".5", "010", "yes", "auto"}) {
    const std::string file = std::string("k: ") + text + "\n";
    EXPECT_EQ(to_yaml(parsed_node(file)), file);
  }
}

TEST(ToYaml, KeysAreQuotedToo) {
  Node root;
  root.kind = Kind::map;
  for (const char* key : {"5", "true", "a: b", "", "~", "<<", "x\"y"}) {
    root.entries.push_back({key, {}, text_node("v")});
  }
  EXPECT_TRUE(tree_equal(parsed_node(to_yaml(root)), root)) << to_yaml(root);
}

TEST(ToYaml, IsItsOwnFixedPoint) {
  for (const std::string& text :
       {std::string("a: {b: [1, {c: 'x y'}, [2, [3]]], d: ~}\n"),
        std::string("a: |\n  text\n\n  more\nb: >\n  folded\n  text\nc: \"\\u00fc\"\n"),
        std::string("- 1\n- [a, {b: c}]\n"), std::string("just text\n"), std::string("[]\n")}) {
    const Node root = parsed_node(text);
    const std::string once = to_yaml(root);
    const Node again = parsed_node(once);
    EXPECT_TRUE(tree_equal(again, root)) << once;
    EXPECT_EQ(to_yaml(again), once);
  }
}

}  // namespace
}  // namespace dlt::config

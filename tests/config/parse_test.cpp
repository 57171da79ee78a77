// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/node.h"

namespace dlt::config {
namespace {

/// "1:4" of a mark.
std::string place(const Mark& mark) {
  return std::to_string(mark.line) + ":" + std::to_string(mark.column);
}

/// The first lines ("f:1:4: error: ...") of all messages.
std::vector<std::string> mistakes_of(const std::string& text) {
  Diagnostics diagnostics;
  (void)parse("f", text, diagnostics);
  std::vector<std::string> lines;
  const std::string all = diagnostics.text();
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = all.find('\n', at);
    if (all.compare(at, 2, "f:") == 0 || all.compare(at, 4, "and ") == 0) {
      lines.push_back(all.substr(at, end - at));
    }
    at = end + 1;
  }
  return lines;
}

Node parse_good(const std::string& text) {
  Diagnostics diagnostics;
  Node node = parse("f", text, diagnostics);
  EXPECT_EQ(diagnostics.text(), "");
  return node;
}

TEST(Parse, BuildsTheTreeInTheOrderOfTheFile) {
  const Node root = parse_good("b: 1\na: [x, 'y', {z: ~}]\nc:\n  - 1\n  - d: 2\n");
  ASSERT_EQ(root.kind, Kind::map);
  ASSERT_EQ(root.entries.size(), 3u);
  EXPECT_EQ(root.entries[0].key, "b");
  EXPECT_EQ(root.entries[1].key, "a");
  const Node& list = *root.find("a");
  ASSERT_EQ(list.items.size(), 3u);
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_EQ(list.items[1].scalar, "y");
  EXPECT_EQ(list.items[2].find("z")->kind, Kind::null);
  EXPECT_EQ(root.find("c")->items[1].find("d")->scalar, "2");
  EXPECT_EQ(root.find("no"), nullptr);
}

TEST(Parse, KnowsThePlaceOfEveryKeyAndValue) {
  const Node root = parse_good("a: 12\n\xc3\xbc: {k: 'v w'}\nl:\n  - xyz\n  - \"q\"\nn:\no: ~\n");
  EXPECT_EQ(place(root.entries[0].key_mark), "1:1");
  EXPECT_EQ(place(root.entries[0].value.mark), "1:4");
  EXPECT_EQ(root.entries[0].value.mark.length, 2);
  const Node::Entry& umlaut = root.entries[1];
  EXPECT_EQ(umlaut.key_mark.length, 1);
  EXPECT_EQ(place(umlaut.value.mark), "2:4");  // characters, not bytes
  EXPECT_EQ(place(umlaut.value.entries[0].key_mark), "2:5");
  EXPECT_EQ(place(umlaut.value.entries[0].value.mark), "2:8");
  EXPECT_EQ(umlaut.value.entries[0].value.mark.length, 5);  // with its quotes
  EXPECT_EQ(place(root.find("l")->items[0].mark), "4:5");
  EXPECT_EQ(place(root.find("l")->items[1].mark), "5:5");
  EXPECT_EQ(place(root.find("n")->mark), "6:1");  // no value: the key
  EXPECT_EQ(place(root.find("o")->mark), "7:4");
  EXPECT_EQ(root.find("o")->scalar, "~");
}

TEST(Parse, CrLfAndByteOrderMarksChangeNothing) {
  const Node root = parse_good(
      "\xef\xbb\xbf"
      "a: x\r\nb: y\r\n");
  EXPECT_EQ(root.find("a")->scalar, "x");
  EXPECT_EQ(place(root.entries[0].key_mark), "1:1");
  EXPECT_EQ(place(root.entries[1].value.mark), "2:4");
}

TEST(Parse, AcceptsWhatIsHarmless) {
  parse_good("---\na: 1\n...\n");
  parse_good("%YAML 1.2\n---\na: 1\n");
  parse_good("# comment\na: 1 # more\n");
  parse_good("? a\n: 1\n");
  parse_good("\"<<\": 1\n");
  parse_good("a: |\n  text\n  more\nb: >-\n  folded\n");
  parse_good("a: 'it''s'\nb: \"say \\\"so\\\"\"\n");
  parse_good("{}");
  parse_good("a: \"two\n  lines\"\n");
}

struct MistakeCase {
  const char* text;
  const char* expected;
};

TEST(Parse, RefusesWhatCouldMislead) {
  const MistakeCase cases[] = {
      {"", "f:1:1: error: expected a map of keys and values, got an empty file"},
      {"# only\n", "f:1:1: error: expected a map of keys and values, got an empty file"},
      {"---\n", "f:1:1: error: expected a map of keys and values, got an empty file"},
      {"a: 1\nb: 2\na: 3\n", "f:3:1: error: a: duplicate key, the first is at f:1:1"},
      {"m: {x: 1, 'x': 2}\n", "f:1:11: error: m.x: duplicate key, the first is at f:1:5"},
      {"l:\n  - k: 1\n    k: 2\n", "f:3:5: error: l.0.k: duplicate key, the first is at f:2:5"},
      {"a: &x 1\n", "f:1:4: error: a: anchors are not allowed, got '&x'"},
      {"a: &x [1]\n", "f:1:4: error: a: anchors are not allowed, got '&x'"},
      {"a: &x\n", "f:1:4: error: a: anchors are not allowed, got '&x'"},
      {"&x a: 1\n", "f:1:1: error: anchors are not allowed, got '&x'"},
      {"a: *x\n", "f:1:4: error: aliases are not allowed"},
      {"a: !!int 5\n", "f:1:4: error: a: tags are not allowed, got '!!int'"},
      {"a: ! 5\n", "f:1:4: error: a: tags are not allowed, got '!'"},
      {"a: !<x> 5\n", "f:1:4: error: a: tags are not allowed, got '!<x>'"},
      {"a: !!map {}\n", "f:1:4: error: a: tags are not allowed, got '!!map'"},
      {"a: [!!python/object:os.system x]\n",
       "f:1:5: error: a.0: tags are not allowed, got '!!python/object:os.system'"},
      {"<<: {a: 1}\n", "f:1:1: error: merge keys are not allowed, got '<<'"},
      {"m:\n  <<: {a: 1}\n", "f:2:3: error: m: merge keys are not allowed, got '<<'"},
      {"~: 1\n", "f:1:1: error: expected text as a key, got nothing"},
      {"? [1, 2]\n: 3\n", "f:1:3: error: expected text as a key, got a list or map"},
      {"m: {{a: 1}: 2}\n", "f:1:5: error: m: expected text as a key, got a list or map"},
      {"a: 1\n---\nb: 2\n", "f:2:1: error: a second document starts here, expected one"},
      {"{a: 1} b\n", "f:1:8: error: expected the end of the file, got more text"},
      {"- a\nb: 1\n", "f:2:1: error: expected the end of the file, got more text"},
      {"a: \"x\n", "f:1:4: error: this quote is never closed"},
      {"a: 'x\nb: 1\n", "f:1:4: error: this quote is never closed"},
      {"a: 'x''\n", "f:1:4: error: this quote is never closed"},
      {"a: \"x\\\"\n", "f:1:4: error: this quote is never closed"},
      {"a: [1\n", "f:1:4: error: this bracket is never closed"},
      {"a: [1, [2]\n", "f:1:4: error: this bracket is never closed"},
      {"a: {b: 1\n", "f:1:4: error: this bracket is never closed"},
      {"a: [1]]\n", "f:1:7: error: this bracket was never opened"},
      {"\ta: 1\n", "f:1:3: error: a tab cannot indent, expected spaces"},
      {"a:\n\t- 1\n", "f:2:2: error: a tab cannot indent, expected spaces"},
      {"a: b: c\n", "f:1:5: error: this ':' is out of place"},
      {"a: 1\n  b: 2\n", "f:2:4: error: this ':' is out of place"},
      {"a: 1\n- 2\n", "f:2:1: error: expected a key with the indentation of the keys above"},
      {"a: \"\\q\"\n", "f:1:7: error: no such escape in double quotes"},
      {"a: @x\n", "f:1:4: error: a plain value cannot start with this character"},
      {"a: \x1b[31m\n", "f:1:4: error: control characters are not allowed, got '\\x1b'"},
      {"a: \"\\e[31m\"\n", "f:1:4: error: a: control characters are not allowed, got '\\x1b[31m'"},
      {"\"a\\0\": 1\n", "f:1:1: error: control characters are not allowed, got 'a\\x00'"},
      {"a: \xc2\x85\n", "f:1:4: error: control characters are not allowed, got '\\x85'"},
      {"a\xff: 1\n", "f:1:2: error: expected UTF-8, got the byte '\\xff'"},
      {"%YAML 3.0\n---\na: 1\n", "f:1:1: error: this is not YAML"},
  };
  for (const MistakeCase& c : cases) {
    EXPECT_THAT(mistakes_of(c.text), testing::ElementsAre(c.expected)) << c.text;
  }
}

TEST(Parse, FindsAllMistakesOfAFileAtOnce) {
  EXPECT_THAT(mistakes_of("a: 1\na: 2\nb: !!str x\nc: &n {d: 1, d: 2}\ne: *n\n"),
              testing::ElementsAre("f:2:1: error: a: duplicate key, the first is at f:1:1",
                                   "f:3:4: error: b: tags are not allowed, got '!!str'",
                                   "f:4:4: error: c: anchors are not allowed, got '&n'",
                                   "f:4:14: error: c.d: duplicate key, the first is at f:4:8",
                                   "f:5:4: error: e: aliases are not allowed, got '*n'"));
}

TEST(Parse, TheFirstOfDuplicateKeysStays) {
  Diagnostics diagnostics;
  const Node root = parse("f", "a: 1\na: {b: 2}\nc: 3\n", diagnostics);
  ASSERT_EQ(root.entries.size(), 2u);
  EXPECT_EQ(root.find("a")->scalar, "1");
  EXPECT_EQ(root.find("c")->scalar, "3");
}

TEST(Parse, AfterTextThatIsNotYamlNothingMoreIsSaid) {
  Diagnostics diagnostics;
  const Node root = parse("f", "a: [1\n", diagnostics);
  MapReader reader(&root, "", root.mark, diagnostics);
  (void)reader.integer("needed", {});
  EXPECT_EQ(diagnostics.size(), 1u);
}

TEST(Parse, NestsSixtyFourDeepAndNoDeeper) {
  const auto nested = [](int depth) {
    return "a: " + std::string(static_cast<std::size_t>(depth), '[') + "1" +
           std::string(static_cast<std::size_t>(depth), ']') + "\n";
  };
  parse_good(nested(63));  // the file's own map is one more
  EXPECT_THAT(mistakes_of(nested(64)),
              testing::ElementsAre("f:1:67: error: lists and maps are nested deeper than 64"));
}

/// What parsing may take at most, on a slow machine with sanitizers.
constexpr double kMaxSeconds = 20;

TEST(Parse, BombsAreRefusedAtOnce) {
  std::string aliases = "a: &a [x]\n";
  for (char c = 'b'; c <= 'z'; ++c) {
    aliases += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i)
      aliases += std::string(i > 0 ? ", " : "") + "*" + static_cast<char>(c - 1);
    aliases += "]\n";
  }
  std::string block;
  for (std::size_t i = 0; i < 1000; ++i) block += std::string(i, ' ') + "a:\n";
  std::string compact;
  for (int i = 0; i < 100000; ++i) compact += "- ";
  std::string questions;
  for (int i = 0; i < 100000; ++i) questions += "? ";
  const std::string many = std::string(100000, '[');
  for (const std::string& text :
       {many, "a: " + many, std::string(100000, '{'), aliases, block, compact, questions,
        std::string(1 << 20, '"'), std::string(1 << 20, ':'), std::string(1 << 20, '&')}) {
    const auto start = std::chrono::steady_clock::now();
    Diagnostics diagnostics;
    (void)parse("f", text, diagnostics);
    EXPECT_FALSE(diagnostics.ok()) << text.substr(0, 20);
    EXPECT_LT(diagnostics.text().size(), 20000u);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), kMaxSeconds) << text.substr(0, 20);
  }
}

TEST(Parse, AMebibyteOfHonestYamlTakesNoTimeToSpeakOf) {
  std::string list = "a: [";
  while (list.size() < (1 << 20) - 8) list += "\xc3\xbc, ";
  list += "1]\n";
  std::string keys;
  for (int i = 0; keys.size() < (1 << 20) - 16; ++i) keys += "k" + std::to_string(i) + ": 1\n";
  for (const std::string& text : {list, keys}) {
    const auto start = std::chrono::steady_clock::now();
    parse_good(text);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), kMaxSeconds);
  }
}

TEST(Parse, ManyMistakesAreCountedNotPrinted) {
  std::string text = "a: [";
  for (int i = 0; i < 50000; ++i) text += "!t x, ";
  const std::vector<std::string> mistakes = mistakes_of(text + "1]\n");
  ASSERT_EQ(mistakes.size(), 21u);
  EXPECT_EQ(mistakes.back(), "and 49980 more mistakes");
}

TEST(Parse, KeysAreShort) {
  EXPECT_THAT(mistakes_of("? " + std::string(129, 'k') + "\n: 1\n"),
              testing::ElementsAre("f:1:3: error: a key has at most 128 characters, got 129"));
  parse_good(std::string(128, 'k') + ": 1\n");
}

}  // namespace
}  // namespace dlt::config

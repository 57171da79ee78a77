// SPDX-License-Identifier: Apache-2.0
#include "config/diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "config/node.h"

namespace dlt::config {
namespace {

/// Twelve lines, the last of which has the misspelt key of the contract.
std::string contract_text() {
  std::string text = "run: {name: x}\n";
  for (int i = 2; i <= 10; ++i) text += "# comment\n";
  return text + "optimizer:\n    learning_rte: 0.001\n    name: adam\n";
}

TEST(Diagnostics, UnknownKeyLooksLikeTheContractToTheLetter) {
  Diagnostics diagnostics;
  const Node root = parse("configs/cnn.yaml", contract_text(), diagnostics);
  MapReader reader(&root, "", {}, diagnostics);
  (void)reader.child("run");
  MapReader optimizer = reader.map("optimizer");
  (void)optimizer.choice("name", {"adam", "sgd"});
  (void)optimizer.numbers("betas", {}, std::vector<double>{0.9, 0.999});
  (void)optimizer.number("eps", {}, 1e-8);
  (void)optimizer.number("learning_rate", {}, 0.001);
  (void)optimizer.number("weight_decay", {}, 0.0);
  optimizer.finish();
  reader.finish();
  EXPECT_EQ(diagnostics.text(),
            "configs/cnn.yaml:12:5: error: optimizer.learning_rte: unknown key\n"
            "  12 |     learning_rte: 0.001\n"
            "     |     ^~~~~~~~~~~~\n"
            "  hint: did you mean 'learning_rate'?  legal: betas, eps, learning_rate, name, "
            "weight_decay\n");
}

TEST(Diagnostics, ValueErrorLooksLikeTheContract) {
  Diagnostics diagnostics;
  const Node root = parse("configs/cnn.yaml", "data:\n  global_batch_size: 0\n", diagnostics);
  MapReader reader(&root, "", {}, diagnostics);
  MapReader data = reader.map("data");
  EXPECT_EQ(data.integer("global_batch_size", {.min = 1, .max = 1048576}, 64), 64);
  EXPECT_EQ(diagnostics.text(),
            "configs/cnn.yaml:2:22: error: data.global_batch_size: expected an integer from 1 to "
            "1048576, got '0'\n"
            "  2 |   global_batch_size: 0\n"
            "    |                      ^\n");
}

TEST(Diagnostics, PrintsInOrderOfLineAndColumnAndCountsAll) {
  Diagnostics diagnostics;
  diagnostics.add_source("f", "abc\ndef\n");
  diagnostics.error({"--set", 1, 1, 1}, "s", "fifth");
  diagnostics.error({"f", 2, 1, 1}, "", "third");
  diagnostics.error({"f", 1, 3, 1}, "", "second");
  diagnostics.error({"f", 1, 1, 1}, "", "first");
  diagnostics.error({"f", 2, 3, 1}, "", "fourth");
  EXPECT_EQ(diagnostics.size(), 5u);
  EXPECT_EQ(diagnostics.text(),
            "f:1:1: error: first\n  1 | abc\n    | ^\n"
            "f:1:3: error: second\n  1 | abc\n    |   ^\n"
            "f:2:1: error: third\n  2 | def\n    | ^\n"
            "f:2:3: error: fourth\n  2 | def\n    |   ^\n"
            "--set:1:1: error: s: fifth\n");
}

TEST(Diagnostics, OverridesHaveNoQuotedLineAndKeepTheirOrder) {
  Diagnostics diagnostics;
  diagnostics.error({"--set", 1, 9, 1}, "b", "one", "h");
  diagnostics.error({"--set", 1, 3, 1}, "a", "two");
  EXPECT_EQ(diagnostics.text(), "--set:1:9: error: b: one\n  hint: h\n--set:1:3: error: a: two\n");
}

TEST(Diagnostics, PrintsTwentyAndTellsHowManyMore) {
  const std::pair<int, std::string> cases[] = {{20, "f:20:1: error: wrong\n"},
                                               {21, "\nand 1 more mistake\n"},
                                               {25, "\nand 5 more mistakes\n"},
                                               {5000, "\nand 4980 more mistakes\n"}};
  for (const auto& [mistakes, last] : cases) {
    Diagnostics diagnostics;
    for (int i = 1; i <= mistakes; ++i) diagnostics.error({"f", i, 1, 1}, "", "wrong");
    const std::string text = diagnostics.text();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), mistakes == 20 ? 20 : 21);
    EXPECT_THAT(text, testing::HasSubstr("f:20:1: "));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("f:21:1: ")));
    EXPECT_THAT(text, testing::EndsWith(last));
    EXPECT_EQ(diagnostics.size(), static_cast<std::size_t>(mistakes));
  }
}

struct CaretCase {
  std::string line;
  int column, length;
  std::string shown, carets;
};

TEST(Diagnostics, CaretsStandUnderTheirCharacters) {
  const CaretCase cases[] = {
      {"key: 1", 1, 3, "key: 1", "^~~"},
      {"\tkey: 1", 2, 3, "\tkey: 1", "\t^~~"},                // a tab stays a tab
      {"\xc3\xbc: x", 4, 1, "\xc3\xbc: x", "   ^"},           // one column, two bytes
      {"\xe6\x97\xa5: x", 4, 1, "\xe6\x97\xa5: x", "    ^"},  // two columns, three bytes
      {"\xe6\x97\xa5\xe6\x9c\xac", 1, 2, "\xe6\x97\xa5\xe6\x9c\xac", "^~~~"},
      {"a\x1b[31m", 2, 1, "a\\x1b[31m", " ^~~~"},  // escaped, as wide as shown
      {"a\xff"
       "b",
       3, 1,
       "a\\xff"
       "b",
       "     ^"},
      {"ab", 3, 1, "ab", "  ^"},  // end of line
      {"ab", 1, 99, "ab", "^~"},  // never past the line
      {"", 1, 1, "", "^"},
      {"ab\r", 1, 1, "ab", "^"},
  };
  for (const CaretCase& c : cases) {
    Diagnostics diagnostics;
    diagnostics.add_source("f", c.line + "\nnext\n");
    diagnostics.error({"f", 1, c.column, c.length}, "", "m");
    EXPECT_EQ(diagnostics.text(), "f:1:" + std::to_string(c.column) + ": error: m\n  1 | " +
                                      c.shown + "\n    | " + c.carets + "\n");
  }
}

TEST(Diagnostics, LongLinesAreCutAroundThePlace) {
  Diagnostics diagnostics;
  diagnostics.add_source("f", cat(std::string(500, 'a'), "HERE", std::string(100000, 'b')));
  diagnostics.error({"f", 1, 501, 4}, "", "m");
  const std::string text = diagnostics.text();
  EXPECT_LT(text.size(), 400u);
  const auto line_at = text.find("...");
  const auto caret_at = text.find('^');
  const auto here_at = text.find("HERE");
  ASSERT_NE(here_at, std::string::npos);
  const auto start_of = [&](std::size_t at) { return text.rfind('\n', at) + 1; };
  EXPECT_EQ(here_at - start_of(here_at), caret_at - start_of(caret_at));
  EXPECT_NE(line_at, std::string::npos);
  EXPECT_THAT(text, testing::HasSubstr("^~~~\n"));
}

TEST(Diagnostics, NothingInAMessageReachesTheTerminalRaw) {
  Diagnostics diagnostics;
  diagnostics.add_source("f\x1b", "a: \x1b[2J\n");
  diagnostics.error({"f\x1b", 1, 1, 1}, "k\x1b\n", "m\x1b", "h\x1b");
  EXPECT_EQ(diagnostics.text(),
            "f\\x1b:1:1: error: k\\x1b\\n: m\\x1b\n  1 | a: \\x1b[2J\n    | ^\n  hint: h\\x1b\n");
}

TEST(Diagnostics, ThrowsAllTogetherWithTheConfigCode) {
  Diagnostics diagnostics;
  EXPECT_NO_THROW(diagnostics.throw_if_any());
  diagnostics.error({"--set", 1, 1, 1}, "a", "m");
  try {
    diagnostics.throw_if_any();
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::config);
    EXPECT_EQ(std::string(error.what()), diagnostics.text());
  }
}

TEST(Diagnostics, SealedOnesTakeNoMore) {
  Diagnostics diagnostics;
  diagnostics.error({"f", 1, 1, 1}, "", "m");
  diagnostics.seal();
  diagnostics.error({"f", 2, 1, 1}, "", "follows from the first");
  EXPECT_EQ(diagnostics.size(), 1u);
}

}  // namespace
}  // namespace dlt::config

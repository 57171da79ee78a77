// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <gtest/gtest.h>

namespace dlt {
namespace {

TEST(Cat, PrintsEverythingInOrder) {
  EXPECT_EQ(cat("a", 1, ' ', 2.5, std::string("b")), "a1 2.5b");
}

TEST(Join, PutsTheSeparatorBetweenOnly) {
  EXPECT_EQ(join({}), "");
  EXPECT_EQ(join({"a"}), "a");
  EXPECT_EQ(join({"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(join({"", ""}, "|"), "|");
}

struct PrintableCase {
  std::string input, expected;
};

TEST(Printable, EscapesWhatCouldHarmTheTerminal) {
  const PrintableCase cases[] = {
      {"plain", "plain"},
      {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
      {"\x1b[31m", "\\x1b[31m"},
      {std::string("a\0b", 3), "a\\x00b"},
      {"\x7f", "\\x7f"},
      {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
      {"\xc3", "\\xc3"},                    // cut character
      {"\xff\xfe", "\\xff\\xfe"},           // never in UTF-8
      {"\xc0\x80", "\\xc0\\x80"},           // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},  // surrogate
      {"\xc2\x9b", "\\x9b"},                // C1 control sequence introducer
      {"\xe2\x80\xae", "\\u202e"},          // right-to-left override
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
      {"back\\slash", "back\\slash"},
  };
  for (const PrintableCase& c : cases) EXPECT_EQ(printable(c.input), c.expected);
}

TEST(Printable, CutsLongTextWithDots) {
  EXPECT_EQ(printable(std::string(80, 'x')), std::string(80, 'x'));
  EXPECT_EQ(printable(std::string(81, 'x')), std::string(77, 'x').append("..."));
  EXPECT_EQ(printable("abcdefgh", 6), "abc...");
  EXPECT_EQ(printable("abc", 2), "..");
  EXPECT_EQ(printable("abc", 0), "");
}

TEST(Printable, CountsCharactersNotBytesAndSplitsNeither) {
  std::string umlauts;
  for (int i = 0; i < 10; ++i) umlauts += "\xc3\xbc";
  EXPECT_EQ(printable(umlauts, 10), umlauts);
  EXPECT_EQ(printable(umlauts + "x", 10), umlauts.substr(0, 14) + "...");
  EXPECT_EQ(printable("\x1b\x1b\x1b", 8), "\\x1b...");
}

TEST(Nearest, FindsCommonMisspellings) {
  const std::vector<std::string> keys = {"betas", "eps", "learning_rate", "name", "weight_decay"};
  EXPECT_EQ(nearest("learning_rte", keys), "learning_rate");
  EXPECT_EQ(nearest("learnign_rate", keys), "learning_rate");
  EXPECT_EQ(nearest("learning-rate", keys), "learning_rate");
  EXPECT_EQ(nearest("Learning_Rate", keys), "learning_rate");
  EXPECT_EQ(nearest("nmae", keys), "name");
  EXPECT_EQ(nearest("beta", keys), "betas");
  EXPECT_EQ(nearest("esp", keys), "eps");
}

TEST(Nearest, SaysNothingWhereNothingIsNear) {
  EXPECT_EQ(nearest("momentum", {"betas", "eps", "name"}), "");
  EXPECT_EQ(nearest("x", {"y"}), "");
  EXPECT_EQ(nearest("", {"a"}), "");
  EXPECT_EQ(nearest("a", {}), "");
  EXPECT_EQ(nearest(std::string(100000, 'a'), {"a"}), "");
}

TEST(Nearest, PrefersTheClosest) {
  EXPECT_EQ(nearest("adam", {"adamw", "adam"}), "adam");
  EXPECT_EQ(nearest("max_pool_2d", {"avg_pool2d", "max_pool1d", "max_pool2d"}), "max_pool2d");
}

}  // namespace
}  // namespace dlt

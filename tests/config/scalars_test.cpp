// SPDX-License-Identifier: Apache-2.0
#include "config/scalars.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace dlt::config {
namespace {

Node plain(std::string text) {
  Node node;
  node.kind = Kind::scalar;
  node.scalar = std::move(text);
  return node;
}

TEST(ToInteger, TakesDecimalsOnly) {
  EXPECT_EQ(to_integer(plain("0")), 0);
  EXPECT_EQ(to_integer(plain("-0")), 0);
  EXPECT_EQ(to_integer(plain("42")), 42);
  EXPECT_EQ(to_integer(plain("-7")), -7);
  EXPECT_EQ(to_integer(plain("9223372036854775807")), INT64_MAX);
  EXPECT_EQ(to_integer(plain("-9223372036854775808")), INT64_MIN);
  for (const char* text : {"",
                           "-",
                           "+5",
                           "010",
                           "00",
                           "-01",
                           "0o17",
                           "0x1F",
                           "0b1",
                           "1_000",
                           "1,000",
                           "1e3",
                           "1.0",
                           "5.",
                           " 5",
                           "5 ",
                           "5x",
                           "--5",
                           "yes",
                           "true",
                           "~",
                           ".nan",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "99999999999999999999999",
                           "\xd9\xa3",
                           "one"}) {
    EXPECT_EQ(to_integer(plain(text)), std::nullopt) << text;
  }
}

TEST(ToNumber, TakesDecimalsWithPointAndExponent) {
  const std::pair<const char*, double> good[] = {
      {"0", 0},   {"5", 5},      {"-5", -5},       {"0.001", 0.001}, {".5", 0.5},
      {"5.", 5},  {"1e3", 1000}, {"1E+3", 1000},   {"1e-05", 1e-5},  {"-2.5e-3", -0.0025},
      {"0.0", 0}, {"0e0", 0},    {"1e308", 1e308}, {"0.1", 0.1},
  };
  for (const auto& [text, value] : good) EXPECT_EQ(to_number(plain(text)), value) << text;
  for (const char* text :
       {"",       "-",       ".",   "e5",   "1e",    "1e+",   "+5",    "010", "00.5",
        "0x1p3",  "1_000.5", "1,5", ".nan", ".inf",  "-.inf", "nan",   "inf", "1e999",
        "-1e999", "1 ",      " 1",  "1f",   "1.2.3", "1e1.5", "12:30", "~",   "true"}) {
    EXPECT_EQ(to_number(plain(text)), std::nullopt) << text;
  }
}

TEST(ToBoolean, TakesTrueAndFalseOnly) {
  EXPECT_EQ(to_boolean(plain("true")), true);
  EXPECT_EQ(to_boolean(plain("false")), false);
  for (const char* text : {"", "True", "TRUE", "yes", "no", "on", "off", "y", "n", "1", "0", "~"}) {
    EXPECT_EQ(to_boolean(plain(text)), std::nullopt) << text;
  }
}

TEST(Scalars, QuotedTextIsNeverANumberOrABoolean) {
  for (const char* text : {"5", "0.5", "true"}) {
    Node node = plain(text);
    node.quoted = true;
    EXPECT_EQ(to_integer(node), std::nullopt);
    EXPECT_EQ(to_number(node), std::nullopt);
    EXPECT_EQ(to_boolean(node), std::nullopt);
  }
}

TEST(Scalars, OtherKindsAreNothing) {
  for (const Kind kind : {Kind::null, Kind::sequence, Kind::map}) {
    Node node = plain("5");
    node.kind = kind;
    EXPECT_EQ(to_integer(node), std::nullopt);
    EXPECT_EQ(to_number(node), std::nullopt);
    EXPECT_EQ(to_boolean(node), std::nullopt);
  }
}

TEST(Hints, SayHowToWriteWhatWasMeant) {
  EXPECT_EQ(integer_hint(plain("010")), "a leading zero looks octal; write 10");
  EXPECT_EQ(integer_hint(plain("-010")), "a leading zero looks octal; write -10");
  EXPECT_EQ(number_hint(plain("00.5")), "");
  EXPECT_EQ(number_hint(plain("01.5")), "a leading zero looks octal; write 1.5");
  EXPECT_EQ(integer_hint(plain("0x1F")), "write it in decimal");
  EXPECT_EQ(integer_hint(plain("0o17")), "write it in decimal");
  EXPECT_EQ(integer_hint(plain("1_000")), "write it without separators: 1000");
  EXPECT_EQ(integer_hint(plain("+5")), "leave out the '+': 5");
  EXPECT_EQ(integer_hint(plain("1e3")), "write an integer with digits only: 1000");
  EXPECT_EQ(integer_hint(plain("64.0")), "write an integer with digits only: 64");
  EXPECT_EQ(integer_hint(plain("64.5")), "");
  EXPECT_EQ(integer_hint(plain("0")), "");
  EXPECT_EQ(integer_hint(plain("abc")), "");
  EXPECT_EQ(integer_hint(plain("-")), "");
  EXPECT_EQ(number_hint(plain(".nan")), "a number here must be finite");
  EXPECT_EQ(number_hint(plain("-.INF")), "a number here must be finite");
  Node quoted = plain("5");
  quoted.quoted = true;
  EXPECT_EQ(integer_hint(quoted), "in quotes it is text; remove the quotes");
  EXPECT_EQ(boolean_hint(plain("yes")), "write true");
  EXPECT_EQ(boolean_hint(plain("True")), "write true");
  EXPECT_EQ(boolean_hint(plain("OFF")), "write false");
  EXPECT_EQ(boolean_hint(plain("maybe")), "");
}

TEST(Expected, NamesTheRange) {
  EXPECT_EQ(expected(IntegerRule{.min = 1, .max = 8}), "an integer from 1 to 8");
  EXPECT_EQ(expected(IntegerRule{.min = 1}), "an integer of at least 1");
  EXPECT_EQ(expected(IntegerRule{.max = 8}), "an integer of at most 8");
  EXPECT_EQ(expected(IntegerRule{}), "an integer");
  EXPECT_EQ(expected(NumberRule{.min = 0, .max = 1}), "a number from 0 to 1");
  EXPECT_EQ(expected(NumberRule{.min = 0, .max = 1, .min_open = true}),
            "a number above 0 and at most 1");
  EXPECT_EQ(expected(NumberRule{.min = 0, .max = 1, .max_open = true}),
            "a number of at least 0 and below 1");
  EXPECT_EQ(expected(NumberRule{.min = 0, .min_open = true}), "a number above 0");
  EXPECT_EQ(expected(NumberRule{}), "a number");
}

TEST(Allows, KeepsOpenAndClosedEnds) {
  EXPECT_TRUE(allows(IntegerRule{.min = 1, .max = 2}, 2));
  EXPECT_FALSE(allows(IntegerRule{.min = 1, .max = 2}, 3));
  EXPECT_FALSE(allows(IntegerRule{.min = 1, .max = 2}, 0));
  EXPECT_TRUE(allows(NumberRule{.min = 0, .max = 1}, 0.0));
  EXPECT_FALSE(allows(NumberRule{.min = 0, .max = 1, .min_open = true}, 0.0));
  EXPECT_TRUE(allows(NumberRule{.min = 0, .max = 1}, 1.0));
  EXPECT_FALSE(allows(NumberRule{.min = 0, .max = 1, .max_open = true}, 1.0));
}

TEST(Describe, SaysWhatStandsThere) {
  EXPECT_EQ(describe(plain("010")), "'010'");
  EXPECT_EQ(describe(plain(std::string(100, 'x'))), cat("'", std::string(77, 'x'), "...'"));
  EXPECT_EQ(describe(plain("a\x1b\n")), "'a\\x1b\\n'");
  Node node = plain("64");
  node.quoted = true;
  EXPECT_EQ(describe(node), "the text '64'");
  EXPECT_EQ(describe(Node{}), "nothing");
  node.kind = Kind::map;
  EXPECT_EQ(describe(node), "an empty map");
  node.kind = Kind::sequence;
  node.items.resize(2);
  EXPECT_EQ(describe(node), "a list");
}

}  // namespace
}  // namespace dlt::config

// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "config/node.h"

namespace dlt::config {
namespace {

/// A reader of one text, and what it said.
struct Reading {
  explicit Reading(const std::string& text)
      : root(parse("f", text, diagnostics)), reader(&root, "", root.mark, diagnostics) {}
  /// The messages without quoted lines.
  [[nodiscard]] std::string said() const {
    std::string result;
    const std::string all = diagnostics.text();
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = all.find('\n', at);
      const std::string line = all.substr(at, end - at);
      if (line.rfind("f:", 0) == 0 || line.rfind("  hint", 0) == 0) result += line + "\n";
      at = end + 1;
    }
    return result;
  }
  Diagnostics diagnostics;
  Node root;
  MapReader reader;
};

TEST(MapReader, ReadsEveryType) {
  Reading r(
      "i: -3\nn: 0.5\nm: 7\nb: true\nt: some text\nq: '5'\nc: adam\na: auto\nx: 4\ny: 2.5\n"
      "l: [1, 2]\nk: 9\nd: [0.5, 1]\nmap: {z: 1}\n");
  MapReader& m = r.reader;
  EXPECT_EQ(m.integer("i", {}), -3);
  EXPECT_EQ(m.number("n", {}), 0.5);
  EXPECT_EQ(m.number("m", {}), 7.0);
  EXPECT_TRUE(m.boolean("b"));
  EXPECT_EQ(m.text("t"), "some text");
  EXPECT_EQ(m.text("q"), "5");
  EXPECT_EQ(m.choice("c", {"adam", "sgd"}), "adam");
  EXPECT_EQ(m.integer_or_auto("a", {}), std::nullopt);
  EXPECT_EQ(m.integer_or_auto("x", {}), 4);
  EXPECT_EQ(m.number_or_auto("y", {}), 2.5);
  EXPECT_THAT(m.integers("l", {}), testing::ElementsAre(1, 2));
  EXPECT_THAT(m.integers("k", {}), testing::ElementsAre(9));
  EXPECT_THAT(m.numbers("d", {}), testing::ElementsAre(0.5, 1.0));
  EXPECT_EQ(m.map("map").integer("z", {}), 1);
  m.finish();
  EXPECT_EQ(r.diagnostics.text(), "");
}

TEST(MapReader, MissingKeysGiveTheFallback) {
  Reading r("{}");
  MapReader& m = r.reader;
  EXPECT_EQ(m.integer("i", {.min = 5}, 3), 3);
  EXPECT_EQ(m.number("n", {}, 0.5), 0.5);
  EXPECT_TRUE(m.boolean("b", true));
  EXPECT_EQ(m.text("t", "x"), "x");
  EXPECT_EQ(m.choice("c", {"a"}, ""), "");
  EXPECT_EQ(m.integer_or_auto("a", {}), std::nullopt);
  EXPECT_EQ(m.number_or_auto("y", {}), std::nullopt);
  EXPECT_THAT(m.integers("l", {}, std::vector<std::int64_t>{1}), testing::ElementsAre(1));
  EXPECT_THAT(m.numbers("d", {}, std::vector<double>{}), testing::ElementsAre());
  EXPECT_EQ(m.map("map").integer("z", {}, 8), 8);
  EXPECT_EQ(m.child("z"), nullptr);
  EXPECT_FALSE(m.has("i"));
  m.finish();
  EXPECT_EQ(r.diagnostics.text(), "");
}

struct ValueCase {
  std::string value;
  std::function<void(MapReader&)> read;
  std::string expected;  // after "f:1:4: error: k: expected "
};

void integer(MapReader& m) { (void)m.integer("k", {.min = 1, .max = 1048576}); }
void number(MapReader& m) { (void)m.number("k", {.min = 0, .max = 1, .max_open = true}); }
void boolean(MapReader& m) { (void)m.boolean("k"); }
void text(MapReader& m) { (void)m.text("k"); }
void choice(MapReader& m) { (void)m.choice("k", {"adam", "adamw", "sgd"}); }
void either(MapReader& m) { (void)m.integer_or_auto("k", {.min = 1}); }
void list(MapReader& m) { (void)m.integers("k", {.min = 1}); }

TEST(MapReader, WrongValuesSayWhatIsExpectedAndWhatIsThere) {
  const std::string range = "an integer from 1 to 1048576, got ";
  const std::string unit = "a number of at least 0 and below 1, got ";
  const std::string boole = "true or false, got ";
  const std::string names = "one of adam, adamw, sgd, got ";
  const ValueCase cases[] = {
      {"010", integer, range + "'010'\n  hint: a leading zero looks octal; write 10\n"},
      {"0o17", integer, range + "'0o17'\n  hint: write it in decimal\n"},
      {"0x1F", integer, range + "'0x1F'\n  hint: write it in decimal\n"},
      {"1_000", integer, range + "'1_000'\n  hint: write it without separators: 1000\n"},
      {"+5", integer, range + "'+5'\n  hint: leave out the '+': 5\n"},
      {"1e3", integer, range + "'1e3'\n  hint: write an integer with digits only: 1000\n"},
      {"64.0", integer, range + "'64.0'\n  hint: write an integer with digits only: 64\n"},
      {"0", integer, range + "'0'\n"},
      {"1048577", integer, range + "'1048577'\n"},
      {"99999999999999999999", integer, range + "'99999999999999999999'\n"},
      {"'64'", integer, range + "the text '64'\n  hint: in quotes it is text; remove the quotes\n"},
      {"true", integer, range + "'true'\n"},
      {"~", integer, range + "'~'\n"},
      {"null", integer, range + "'null'\n"},
      {"[1]", integer, range + "a list\n"},
      {"{a: 1}", integer, range + "a map\n"},
      {"\"a\\nb\"", integer, range + "'a\\nb'\n"},
      {std::string(200, 'x'), integer, cat(range, "'", std::string(77, 'x'), "...'\n")},
      {".nan", number, unit + "'.nan'\n  hint: a number here must be finite\n"},
      {".inf", number, unit + "'.inf'\n  hint: a number here must be finite\n"},
      {"-.Inf", number, unit + "'-.Inf'\n  hint: a number here must be finite\n"},
      {"1", number, unit + "'1'\n"},
      {"-0.1", number, unit + "'-0.1'\n"},
      {"0,5", number, unit + "'0,5'\n"},
      {"1e999", number, unit + "'1e999'\n"},
      {"yes", boolean, boole + "'yes'\n  hint: write true\n"},
      {"no", boolean, boole + "'no'\n  hint: write false\n"},
      {"on", boolean, boole + "'on'\n  hint: write true\n"},
      {"off", boolean, boole + "'off'\n  hint: write false\n"},
      {"True", boolean, boole + "'True'\n  hint: write true\n"},
      {"1", boolean, boole + "'1'\n  hint: write true\n"},
      {"'true'", boolean, boole + "'true'\n  hint: write true without quotes\n"},
      {"2", boolean, boole + "'2'\n"},
      {"5", text, "text, got '5'\n  hint: quote it: '5'\n"},
      {"true", text, "text, got 'true'\n  hint: quote it: 'true'\n"},
      {"~", text, "text, got '~'\n"},
      {"[a]", text, "text, got a list\n"},
      {"adma", choice, names + "'adma'\n  hint: did you mean 'adam'?\n"},
      {"momentum", choice, names + "'momentum'\n"},
      {"[adam]", choice, names + "a list\n"},
      {"Auto", either, "an integer of at least 1 or 'auto', got 'Auto'\n"},
      {"0", either, "an integer of at least 1 or 'auto', got '0'\n"},
      {"x", list, "an integer of at least 1 or a list of such, got 'x'\n"},
      {"{}", list, "an integer of at least 1 or a list of such, got an empty map\n"},
  };
  for (const ValueCase& c : cases) {
    Reading r("k: " + c.value + "\n");
    c.read(r.reader);
    EXPECT_EQ(r.said(), "f:1:4: error: k: expected " + c.expected);
  }
}

TEST(MapReader, MistakesGiveTheFallbackOrZero) {
  Reading r("a: x\nb: [1, y]\n");
  EXPECT_EQ(r.reader.integer("a", {}, 7), 7);
  EXPECT_EQ(r.reader.number("a", {}), 0.0);
  EXPECT_FALSE(r.reader.boolean("a"));
  EXPECT_EQ(r.reader.choice("a", {"p"}, "p"), "p");
  EXPECT_THAT(r.reader.integers("b", {}, std::vector<std::int64_t>{3}), testing::ElementsAre(3));
  EXPECT_EQ(r.diagnostics.size(), 5u);
}

TEST(MapReader, ItemsOfListsHaveTheirOwnPlaceAndPath) {
  Reading r("model:\n  input: [8, 0, x]\n");
  (void)r.reader.map("model").integers("input", {.min = 1});
  EXPECT_EQ(r.said(),
            "f:2:14: error: model.input.1: expected an integer of at least 1, got '0'\n"
            "f:2:17: error: model.input.2: expected an integer of at least 1, got 'x'\n");
}

TEST(MapReader, RequiredKeysAreMissedAtTheirMap) {
  Reading r("run: {}\ndata:\n  shuffle: true\n");
  (void)r.reader.map("run").text("name");
  (void)r.reader.map("data").integer("global_batch_size", {.min = 1});
  (void)r.reader.map("loss").choice("name", {"mse"});
  EXPECT_EQ(r.said(),
            "f:1:1: error: run.name: expected text, got nothing\n  hint: this key is required\n"
            "f:1:1: error: loss.name: expected mse, got nothing\n  hint: this key is required\n"
            "f:2:1: error: data.global_batch_size: expected an integer of at least 1, got "
            "nothing\n  hint: this key is required\n");
}

TEST(MapReader, AValueLeftOutIsMissedAtItsKey) {
  Reading r("a:\nb: 1\n");
  (void)r.reader.integer("a", {.min = 1});
  EXPECT_EQ(r.said(), "f:1:1: error: a: expected an integer of at least 1, got nothing\n");
}

TEST(MapReader, SomethingElseThanAMapIsOneMistake) {
  Reading r("run: 5\ndata: [1]\nlog:\n");
  (void)r.reader.map("run").text("name");
  MapReader data = r.reader.map("data");
  (void)data.map("train").text("file");
  data.finish();
  (void)r.reader.map("log").integer("every_steps", {}, 10);
  EXPECT_EQ(r.said(),
            "f:1:6: error: run: expected a map, got '5'\n"
            "f:2:7: error: data: expected a map, got a list\n"
            "f:3:1: error: log: expected a map, got nothing\n");
}

TEST(MapReader, FinishReportsEveryUnknownKeyWithTheLegalOnes) {
  Reading r("epoch: 1\nzzz: 2\nsteps: 3\n");
  (void)r.reader.integer("steps", {});
  (void)r.reader.integer("epochs", {}, 1);
  (void)r.reader.integer("epochs", {}, 1);
  r.reader.finish();
  EXPECT_EQ(r.said(),
            "f:1:1: error: epoch: unknown key\n"
            "  hint: did you mean 'epochs'?  legal: epochs, steps\n"
            "f:2:1: error: zzz: unknown key\n  hint: legal: epochs, steps\n");
}

TEST(MapReader, CallersCanRecordMistakesOfTheirOwn) {
  Reading r("m:\n  a: 1\n");
  MapReader m = r.reader.map("m");
  m.error("a", "expected more", "try 2");
  m.error("b", "expected it");
  m.error("", "expected a or b");
  EXPECT_EQ(r.said(),
            "f:1:1: error: m.b: expected it\nf:1:1: error: m: expected a or b\n"
            "f:2:6: error: m.a: expected more\n  hint: try 2\n");
  EXPECT_EQ(m.path(), "m");
  EXPECT_TRUE(m.has("a"));
  EXPECT_EQ(&m.diagnostics(), &r.diagnostics);
}

TEST(MapReader, ANullNodeHasNoKeys) {
  Diagnostics diagnostics;
  MapReader m(nullptr, "a.b", {"f", 3, 2, 1}, diagnostics);
  (void)m.integer("k", {});
  m.finish();
  EXPECT_EQ(
      diagnostics.text(),
      "f:3:2: error: a.b.k: expected an integer, got nothing\n  hint: this key is required\n");
}

}  // namespace
}  // namespace dlt::config

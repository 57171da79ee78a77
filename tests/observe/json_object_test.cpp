// SPDX-License-Identifier: Apache-2.0
#include "observe/json_object.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dlt::observe::test {
namespace {

JsonObject sample() {
  JsonObject train;
  train.set("loss", 0.25);
  train.set("bad", std::nan(""));
  JsonObject out;
  out.set("status", "finished");
  out.set("steps", std::int64_t{460});
  out.set("train", train);
  out.set("hosts", std::vector<FieldValue>{"a", std::int64_t{2}, true});
  out.set("ranks", std::vector<JsonObject>{train, {}});
  out.set("none", std::vector<FieldValue>{});
  out.set("empty", JsonObject());
  return out;
}

TEST(JsonObject, TablesAreListsOfLists) {
  JsonObject out;
  out.set("table", Table{{1, 2.5}, {}, {-3, std::nan("")}});
  out.set("none", Table{});
  EXPECT_EQ(out.text(), R"({"table": [[1.0, 2.5], [], [-3.0, "nan"]], "none": []})");
}

TEST(JsonObject, WritesOnOneLine) {
  EXPECT_EQ(
      sample().text(),
      "{\"status\": \"finished\", \"steps\": 460, \"train\": {\"loss\": 0.25, \"bad\": "
      "\"nan\"}, \"hosts\": [\"a\", 2, true], \"ranks\": [{\"loss\": 0.25, \"bad\": \"nan\"}, "
      "{}], \"none\": [], \"empty\": {}}");
}

TEST(JsonObject, WritesIndented) {
  JsonObject inner, outer;
  inner.set("loss", 1.0);
  outer.set("train", inner);
  outer.set("hosts", std::vector<FieldValue>{"a", "b"});
  EXPECT_EQ(
      outer.text(2),
      "{\n  \"train\": {\n    \"loss\": 1.0\n  },\n  \"hosts\": [\n    \"a\",\n    \"b\"\n  ]\n}");
  EXPECT_EQ(JsonObject().text(2), "{}");
}

TEST(JsonObject, IsJsonEitherWay) {
  const auto one = nlohmann::ordered_json::parse(sample().text());
  EXPECT_EQ(one, nlohmann::ordered_json::parse(sample().text(4)));
  EXPECT_EQ(one.at("ranks").at(0).at("loss"), 0.25);
}

TEST(JsonObject, KeepsThePlaceOfAKeySetAgain) {
  JsonObject out;
  out.set("a", std::int64_t{1});
  out.set("b", std::int64_t{2});
  out.set("a", "new");
  EXPECT_EQ(out.text(), "{\"a\": \"new\", \"b\": 2}");
}

TEST(JsonObject, EscapesKeys) {
  JsonObject out;
  out.set("a\"\n", false);
  EXPECT_EQ(out.text(), "{\"a\\\"\\n\": false}");
}

TEST(JsonObject, IsAValue) {
  JsonObject a = sample();
  JsonObject b = a;
  b.set("status", "other");
  EXPECT_EQ(a.text(), sample().text());
  EXPECT_NE(b.text(), a.text());
}

}  // namespace
}  // namespace dlt::observe::test

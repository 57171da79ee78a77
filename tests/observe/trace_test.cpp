// SPDX-License-Identifier: Apache-2.0
#include "observe/trace.h"

#include <map>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dlt::observe {
namespace {

using Json = nlohmann::json;

Json events_of(const Trace& trace) { return Json::parse(trace_text(trace)).at("traceEvents"); }

TEST(Trace, NamesProcessAndLanes) {
  const Json events =
      events_of({.rank = 3, .process = "rank 3 on a", .lanes = {{"main \"x\"", {}}}});
  std::map<std::string, std::string> names;
  for (const Json& event : events) {
    EXPECT_EQ(event.at("ph"), "M");
    EXPECT_EQ(event.at("pid"), 3);
    if (event.at("args").contains("name")) names[event.at("name")] = event.at("args").at("name");
  }
  EXPECT_EQ(names.at("process_name"), "rank 3 on a");
  EXPECT_EQ(names.at("thread_name"), "main \"x\"");
}

TEST(Trace, GivesSpansInMicroseconds) {
  const Json events = events_of(
      {.lanes = {{"a", {}}, {"b", {{"forward", 2.5, 2.5000015, {{"leaf", std::int64_t{4}}}}}}}});
  const Json& span = events.back();
  EXPECT_EQ(span.at("ph"), "X");
  EXPECT_EQ(span.at("name"), "forward");
  EXPECT_EQ(span.at("tid"), 1);
  EXPECT_DOUBLE_EQ(span.at("ts").get<double>(), 2.5e6);
  EXPECT_DOUBLE_EQ(span.at("dur").get<double>(), 1.5);
  EXPECT_EQ(span.at("args").at("leaf"), 4);
}

TEST(Trace, BeginsAndEndsSpansThatOverlapUnderTheirOwnIds) {
  const Json events = events_of({.free_spans = {{"bucket 0", 1, 3}, {"bucket 1", 2, 4}}});
  std::map<std::string, double> balance;
  for (const Json& event : events) {
    if (event.at("ph") == "M") continue;
    ASSERT_TRUE(event.at("ph") == "b" || event.at("ph") == "e");
    EXPECT_TRUE(event.contains("cat"));
    balance[event.at("id")] += (event.at("ph") == "e" ? 1 : -1) * event.at("ts").get<double>();
  }
  ASSERT_EQ(balance.size(), 2U);
  for (const auto& [id, length] : balance) EXPECT_DOUBLE_EQ(length, 2e6) << id;
}

}  // namespace
}  // namespace dlt::observe

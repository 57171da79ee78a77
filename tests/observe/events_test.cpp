// SPDX-License-Identifier: Apache-2.0
#include "observe/events.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/fs.h"
#include "observe/fixed_clock.h"
#include "support/temp_folder.h"

namespace dlt::observe::test {
namespace {

using Json = nlohmann::ordered_json;

class EventsTest : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::istringstream text(read_file(path_));
    for (std::string line; std::getline(text, line);) out.push_back(line);
    return out;
  }
  /// What is read back of one value.
  Json written(const FieldValue& value) {
    EventLog(path_, clock_, 0).write("x", {{"value", value}});
    return Json::parse(lines().back()).at("value");
  }

  dlt::test::TempFolder folder_;
  std::string path_ = folder_ / "events.jsonl";
  FixedClock clock_;
};

TEST_F(EventsTest, WriteOneObjectALine) {
  EventLog log(path_, clock_, 3);
  log.write("step", {{"step", std::int64_t{70}}, {"loss", 0.4312}});
  clock_.now_s = 6.5;
  log.write("run_end", {{"code", std::int64_t{0}}, {"ok", true}, {"status", std::string("fine")}});
  EXPECT_EQ(read_file(path_),
            "{\"ev\": \"step\", \"t_mono\": 5.000000, \"t_wall\": 1700000005.250000, "
            "\"generation\": 3, \"step\": 70, \"loss\": 0.4312}\n"
            "{\"ev\": \"run_end\", \"t_mono\": 6.500000, \"t_wall\": 1700000006.750000, "
            "\"generation\": 3, \"code\": 0, \"ok\": true, \"status\": \"fine\"}\n");
}

TEST_F(EventsTest, AreThereAsSoonAsTheyAreWritten) {
  EventLog log(path_, clock_, 0);
  log.write("a", {});
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(EventsTest, KeepEveryBitOfADouble) {
  const unsigned seed = std::random_device{}();
  std::mt19937_64 random(seed);
  std::vector<double> values{
      0.0, -0.0, 1.0, 0.1, 1e22, 1e300, 5e-324, 1.7976931348623157e308, 123456789012345680.0};
  while (values.size() < 300) {
    const auto value = std::bit_cast<double>(random());
    if (std::isfinite(value)) values.push_back(value);
  }
  EventLog log(path_, clock_, 0);
  for (const double value : values) log.write("x", {{"value", value}});
  const std::vector<std::string> got = lines();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Json value = Json::parse(got[i]).at("value");
    EXPECT_TRUE(value.is_number_float()) << got[i];
    EXPECT_EQ(std::bit_cast<std::uint64_t>(value.get<double>()),
              std::bit_cast<std::uint64_t>(values[i]))
        << got[i] << "; seed " << seed;
  }
}

TEST_F(EventsTest, KeepEveryInteger) {
  for (const std::int64_t value : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1},
                                   std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(written(value).get<std::int64_t>(), value);
  }
}

TEST_F(EventsTest, WriteNonFiniteNumbersAsStrings) {
  EXPECT_EQ(written(std::nan("")), "nan");
  EXPECT_EQ(written(-std::nan("")), "nan");
  EXPECT_EQ(written(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(written(-std::numeric_limits<double>::infinity()), "-inf");
}

TEST_F(EventsTest, KeepAnyTextOnOneLine) {
  std::string text =
      "\"quoted\" \\ new\nline\r\ttab \x01\x1f\x7f gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80";
  text += '\0';
  EXPECT_EQ(written(text), text);
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(EventsTest, ReplaceBytesThatAreNotUtf8) {
  // A lone continuation, a cut character, a surrogate, an overlong slash, beyond the last
  // character.
  for (const char* bad : {"\x80", "\xe2\x82", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"}) {
    const Json got = written(std::string("a") + bad + "b");
    EXPECT_THAT(got.get<std::string>(), testing::MatchesRegex("a(\xef\xbf\xbd)+b"));
  }
}

TEST_F(EventsTest, GoOnInTheSameFile) {
  EventLog(path_, clock_, 0).write("a", {});
  EventLog(path_, clock_, 1).write("b", {});
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_EQ(Json::parse(lines()[1]).at("generation"), 1);
}

TEST_F(EventsTest, CloseALineThatAPowerCutHasTorn) {
  dlt::test::write_file(path_, "{\"ev\": \"a\"}\n{\"ev\": \"st");
  EventLog(path_, clock_, 1).write("b", {});
  ASSERT_EQ(lines().size(), 3u);
  EXPECT_EQ(Json::parse(lines()[2]).at("ev"), "b");
}

TEST_F(EventsTest, SayThatTheFileCannotBeOpened) {
  EXPECT_THAT(dlt::test::error_of([&] { EventLog(folder_ / "no/events.jsonl", clock_, 0); }),
              testing::StartsWith("74: " + folder_.path() + "/no/events.jsonl: open() failed: "));
}

TEST_F(EventsTest, SurviveAFullDiskAndSayItOnce) {
  testing::internal::CaptureStderr();
  {
    EventLog log("/dev/full", clock_, 0);
    for (int i = 0; i < 3; ++i) log.write("a", {});
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "dltrain: warning: /dev/full: write() failed: No space left on device; training goes "
            "on, this file has gaps\n");
}

TEST_F(EventsTest, TakeALineThatAnotherIsJustWritingForNoTornOne) {
  std::atomic<bool> done = false;
  {
    std::jthread writer([&] {
      EventLog log(path_, clock_, 0);
      for (int i = 0; i < 1000 && !done; ++i)
        log.write("long", {{"text", std::string(20000, 'x')}});
    });
    for (int i = 0; i < 300; ++i) EventLog(path_, clock_, 1).write("short", {});
    done = true;
  }
  const std::vector<std::string> got = lines();
  EXPECT_EQ(std::count(got.begin(), got.end(), ""), 0);
  EXPECT_GE(got.size(), 300u);
}

TEST_F(EventsTest, NeverMixLinesOfSeveralWriters) {
  EventLog shared(path_, clock_, 0);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        EventLog own(path_, clock_, t);
        for (int i = 0; i < 100; ++i) {
          (i % 2 == 0 ? own : shared)
              .write("x", {{"text", std::string(200, static_cast<char>('a' + t))}});
        }
      });
    }
  }
  const std::vector<std::string> got = lines();
  EXPECT_EQ(got.size(), 400u);
  for (const std::string& line : got) EXPECT_TRUE(Json::accept(line)) << line;
}

}  // namespace
}  // namespace dlt::observe::test

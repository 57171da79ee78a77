// SPDX-License-Identifier: Apache-2.0
#include "observe/tensorboard.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>

#include "base/fs.h"
#include "observe/crc32c.h"
#include "observe/fixed_clock.h"
#include "support/temp_folder.h"

namespace dlt::observe::test {
namespace {

/// Bit by bit, written independently of the one under test.
std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t remainder = 0xffffffffu;
  for (const char c : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool in = ((static_cast<unsigned char>(c) >> bit) & 1) != 0;
      const bool out = (remainder & 1u) != 0;
      remainder >>= 1;
      if (in != out) remainder ^= 0x82f63b78u;
    }
  }
  return remainder ^ 0xffffffffu;
}

/// Takes values off the front of bytes.
class Bytes {
 public:
  explicit Bytes(std::string bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] bool empty() const { return at_ == bytes_.size(); }
  std::string take(std::size_t n) {
    if (bytes_.size() - at_ < n) throw std::runtime_error("cut short");
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }
  template <typename T>
  T raw() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string text() { return take(varint()); }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

struct Event {
  double wall_time = 0;
  std::uint64_t step = 0;
  std::string file_version, tag;
  float value = 0;
};

void read_value(const std::string& bytes, Event& event) {
  for (Bytes in(bytes); !in.empty();) {
    const std::uint64_t key = in.varint();
    if (key == ((1 << 3) | 2)) {
      event.tag = in.text();
    } else if (key == ((2 << 3) | 5)) {
      event.value = in.raw<float>();
    } else {
      throw std::runtime_error("unknown field of Summary.Value");
    }
  }
}

Event read_event(const std::string& bytes) {
  Event event;
  for (Bytes in(bytes); !in.empty();) {
    const std::uint64_t key = in.varint();
    if (key == ((1 << 3) | 1)) {
      event.wall_time = in.raw<double>();
    } else if (key == ((2 << 3) | 0)) {
      event.step = in.varint();
    } else if (key == ((3 << 3) | 2)) {
      event.file_version = in.text();
    } else if (key == ((5 << 3) | 2)) {
      Bytes summary(in.text());
      EXPECT_EQ(summary.varint(), std::uint64_t{(1 << 3) | 2});
      read_value(summary.text(), event);
      EXPECT_TRUE(summary.empty());
    } else {
      throw std::runtime_error("unknown field of Event");
    }
  }
  return event;
}

std::vector<Event> read_events(const std::string& path) {
  const auto masked = [](const std::string& bytes) {
    const std::uint32_t crc = slow_crc32c(bytes);
    return static_cast<std::uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  };
  std::vector<Event> events;
  for (Bytes in(read_file(path)); !in.empty();) {
    const std::string length = in.take(8);
    EXPECT_EQ(in.raw<std::uint32_t>(), masked(length));
    const std::string event = in.take(Bytes(length).raw<std::uint64_t>());
    EXPECT_EQ(in.raw<std::uint32_t>(), masked(event));
    events.push_back(read_event(event));
  }
  return events;
}

class TensorBoard : public testing::Test {
 protected:
  [[nodiscard]] std::string file(std::size_t i = 0) const {
    return folder_ / list_directory(folder_.path()).at(i);
  }
  dlt::test::TempFolder folder_;
  FixedClock clock_;
};

TEST(Crc32c, GivesTheKnownVectors) {
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(slow_crc32c("123456789"), 0xe3069283u);
}

TEST_F(TensorBoard, WritesEventsThatAnotherDecoderReads) {
  {
    TensorBoardLog log(folder_.path(), clock_);
    log.scalar("train/loss", 1, 0.5);
    clock_.now_s = 7;
    log.scalar("train/loss", 300, -1e-3);
    log.scalar(std::string(200, 't'), std::int64_t{1} << 40,
               std::numeric_limits<double>::infinity());
    log.scalar("nan", 0, std::nan(""));
  }
  const std::vector<Event> events = read_events(file());
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_EQ(events[1].tag, "train/loss");
  EXPECT_EQ(events[1].step, 1u);
  EXPECT_EQ(events[1].value, 0.5f);
  EXPECT_EQ(events[1].wall_time, 1700000005.25);
  EXPECT_EQ(events[2].step, 300u);
  EXPECT_EQ(events[2].value, -1e-3f);
  EXPECT_EQ(events[2].wall_time, 1700000007.25);
  EXPECT_EQ(events[3].tag, std::string(200, 't'));
  EXPECT_EQ(events[3].step, std::uint64_t{1} << 40);
  EXPECT_TRUE(std::isinf(events[3].value));
  EXPECT_TRUE(std::isnan(events[4].value));
}

TEST_F(TensorBoard, NamesItsFileAsTheProgramsExpect) {
  const TensorBoardLog log(folder_.path(), clock_);
  EXPECT_THAT(
      list_directory(folder_.path()),
      testing::ElementsAre(testing::MatchesRegex("events.out.tfevents.1700000005..+[.][0-9]+.0")));
}

TEST_F(TensorBoard, NeverWritesIntoAnotherLogsFile) {
  const TensorBoardLog one(folder_.path(), clock_), two(folder_.path(), clock_);
  EXPECT_EQ(list_directory(folder_.path()).size(), 2u);
  EXPECT_EQ(read_events(file(0)).size(), 1u);
  EXPECT_EQ(read_events(file(1)).size(), 1u);
}

TEST_F(TensorBoard, WritesByItselfEveryFewSecondsAndWhenAsked) {
  TensorBoardLog log(folder_.path(), clock_);
  log.scalar("a", 1, 1);
  EXPECT_EQ(read_events(file()).size(), 1u);
  clock_.now_s += 3;
  log.scalar("a", 2, 1);
  EXPECT_EQ(read_events(file()).size(), 3u);
  log.scalar("a", 3, 1);
  log.flush();
  EXPECT_EQ(read_events(file()).size(), 4u);
}

TEST_F(TensorBoard, SaysThatTheFileCannotBeOpened) {
  EXPECT_THAT(dlt::test::error_of([&] { TensorBoardLog(folder_ / "none", clock_); }),
              testing::StartsWith("74: "));
}

}  // namespace
}  // namespace dlt::observe::test

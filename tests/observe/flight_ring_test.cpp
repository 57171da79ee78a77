// SPDX-License-Identifier: Apache-2.0
#include "observe/flight_ring.h"

#include <atomic>
#include <csignal>
#include <fstream>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "support/temp_folder.h"

namespace dlt::observe {
namespace {

constexpr std::size_t kHeader_bytes = 8192, kEntry_bytes = 64;

class FlightRingTest : public ::testing::Test {
 protected:
  dlt::test::TempFolder temp_;
  std::string dir_ = temp_.path() + "/memory";
  RingOwner owner_{.rank = 3, .pid = 77, .generation = 2, .host = "alpha"};

  RingContents read() const { return read_ring(ring_path(dir_, owner_.rank)); }
  std::string bytes() const { return read_file(ring_path(dir_, owner_.rank)); }
  void overwrite(const std::string& bytes) const {
    std::ofstream(ring_path(dir_, owner_.rank), std::ios::binary) << bytes;
  }
};

Exit exit_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.exit();
  }
  return Exit::ok;
}

TEST_F(FlightRingTest, GivesBackWhatWasWritten) {
  FlightRing ring(dir_, owner_);
  ring.set_file("datasets/digits.h5");
  ring.mark(1.5, {.phase = Phase::reduce, .step = 812, .bucket = 3, .leaf = -1, .row = 1LL << 40});
  ring.saved(2.5, SavedIn::disk, 800);
  ring.note(3.5, "a note of more than the thirty-two bytes that one entry holds");
  ring.set_failure("dltrain: error: x\n  hint: y\n");
  const RingContents got = read();
  EXPECT_EQ(got.owner.rank, 3);
  EXPECT_EQ(got.owner.pid, 77);
  EXPECT_EQ(got.owner.generation, 2);
  EXPECT_EQ(got.owner.host, "alpha");
  EXPECT_EQ(got.file, "datasets/digits.h5");
  EXPECT_EQ(got.failure, "dltrain: error: x\n  hint: y\n");
  ASSERT_EQ(got.events.size(), 3U);
  EXPECT_EQ(got.events[0].kind, RingEventKind::mark);
  EXPECT_DOUBLE_EQ(got.events[0].mono_s, 1.5);
  EXPECT_EQ(got.events[0].mark.phase, Phase::reduce);
  EXPECT_EQ(got.events[0].mark.step, 812);
  EXPECT_EQ(got.events[0].mark.bucket, 3);
  EXPECT_EQ(got.events[0].mark.leaf, -1);
  EXPECT_EQ(got.events[0].mark.row, 1LL << 40);
  EXPECT_EQ(got.events[1].kind, RingEventKind::saved);
  EXPECT_EQ(got.events[1].saved_in, SavedIn::disk);
  EXPECT_EQ(got.events[1].mark.step, 800);
  EXPECT_EQ(got.events[2].kind, RingEventKind::note);
  EXPECT_EQ(got.events[2].text, "a note of more than the thirty-two bytes that one entry holds");
  EXPECT_EQ(got.num_torn, 0);
}

TEST_F(FlightRingTest, KeepsTheLastEvents) {
  FlightRing ring(dir_, owner_);
  const std::int64_t n = 3 * FlightRing::kNum_events + 5;
  for (std::int64_t i = 0; i < n; ++i) ring.mark(static_cast<double>(i), {.step = i});
  const RingContents got = read();
  EXPECT_EQ(got.num_written, n);
  EXPECT_EQ(got.num_torn, 0);
  ASSERT_EQ(got.events.size(), static_cast<std::size_t>(FlightRing::kNum_events));
  EXPECT_EQ(got.events.front().mark.step, n - FlightRing::kNum_events);
  EXPECT_EQ(got.events.back().mark.step, n - 1);
}

TEST_F(FlightRingTest, KeepsTheFirstFailureAndCutsLongText) {
  FlightRing ring(dir_, owner_);
  ring.set_failure(std::string(5000, 'a'));
  ring.set_failure("second");
  ring.note(1, std::string(500, 'b'));
  const RingContents got = read();
  EXPECT_EQ(got.failure, std::string(4000, 'a'));
  EXPECT_EQ(got.events.at(0).text, std::string(192, 'b'));
}

TEST_F(FlightRingTest, ANewOneTakesThePlaceOfTheOld) {
  FlightRing(dir_, owner_).mark(1, {.step = 9});
  owner_.generation = 3;
  const FlightRing ring(dir_, owner_);
  EXPECT_EQ(read().owner.generation, 3);
  EXPECT_TRUE(read().events.empty());
}

TEST_F(FlightRingTest, TellsTheNewestMark) {
  FlightRing ring(owner_);
  EXPECT_FALSE(ring.newest_mark());
  for (int i = 0; i < 5000; ++i) ring.mark(i, {.phase = Phase::eval, .step = i});
  ring.note(6000, "a note of more than the thirty-two bytes that one entry holds");
  const std::optional<RingEvent> newest = ring.newest_mark();
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->mark.step, 4999);
  EXPECT_EQ(newest->mark.phase, Phase::eval);
  EXPECT_DOUBLE_EQ(newest->mono_s, 4999);
}

TEST_F(FlightRingTest, ThreadsWriteAtOnce) {
  FlightRing ring(dir_, owner_);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&ring, t] {
      for (int i = 0; i < 500; ++i) ring.mark(i, {.step = i, .leaf = t});
      ring.note(0, "thread of many words that takes two entries");
    });
  }
  threads.clear();
  const RingContents got = read();
  EXPECT_EQ(got.num_torn, 0);
  EXPECT_EQ(got.num_written, 2008);
  std::array<std::int64_t, 4> next{};
  int num_notes = 0;
  for (const RingEvent& event : got.events) {
    if (event.kind == RingEventKind::note) {
      EXPECT_EQ(event.text, "thread of many words that takes two entries");
      ++num_notes;
    } else {
      EXPECT_EQ(event.mark.step, next.at(static_cast<std::size_t>(event.mark.leaf))++);
    }
  }
  EXPECT_EQ(num_notes, 4);
}

TEST_F(FlightRingTest, IsReadWhileItIsWritten) {
  FlightRing ring(dir_, owner_);
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    for (std::int64_t i = 0; !done; ++i) ring.mark(1, {.step = i, .row = 3 * i});
  });
  for (int round = 0; round < 50; ++round) {
    for (const RingEvent& event : read().events) {
      ASSERT_EQ(event.mark.row, 3 * event.mark.step);
    }
  }
  done = true;
}

TEST_F(FlightRingTest, OutlivesSigkill) {
  const pid_t child = ::fork();
  if (child == 0) {
    FlightRing ring(dir_, owner_);
    for (std::int64_t i = 0;; ++i) ring.mark(1, {.step = i, .row = 7 * i});
  }
  std::int64_t written = 0;
  while (written < 2 * FlightRing::kNum_events) {
    try {
      written = read().num_written;
    } catch (const Error&) {
      std::this_thread::yield();  // the child has yet to make it
    }
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const RingContents got = read();
  EXPECT_LE(got.num_torn, 1);
  EXPECT_GE(got.events.size(), static_cast<std::size_t>(FlightRing::kNum_events - 1));
  EXPECT_GE(got.events.back().mark.step, got.num_written - 2);
  EXPECT_EQ(got.events.back().mark.row, 7 * got.events.back().mark.step);
}

TEST_F(FlightRingTest, LeavesOutTornEntries) {
  {
    FlightRing ring(dir_, owner_);
    for (int i = 0; i < 10; ++i) ring.mark(i, {.step = i});
  }
  std::string file = bytes();
  file[kHeader_bytes + 4 * kEntry_bytes] = 0;                    // being written
  file[kHeader_bytes + 6 * kEntry_bytes + 24] ^= 1;              // the step of another time
  file.replace(kHeader_bytes + 8 * kEntry_bytes, 8, 8, '\x7f');  // a number of nowhere
  overwrite(file);
  const RingContents got = read();
  EXPECT_EQ(got.num_torn, 3);
  std::vector<std::int64_t> steps;
  for (const RingEvent& event : got.events) steps.push_back(event.mark.step);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 1, 2, 3, 5, 7, 9}));
}

TEST_F(FlightRingTest, ReadsAnyBytesWithoutHarm) {
  {
    FlightRing ring(dir_, owner_);
    for (int i = 0; i < 5000; ++i) ring.mark(i, {.step = i});
    ring.note(1, "note");
    ring.set_failure("failure");
  }
  const std::string good = bytes();
  std::mt19937 random(20);
  for (int round = 0; round < 200; ++round) {
    std::string bad = good;
    for (int edit = 0; edit < 40; ++edit) {
      const bool head = edit % 2 == 0;
      bad[random() % (head ? kHeader_bytes : bad.size())] = static_cast<char>(random());
    }
    overwrite(bad);
    EXPECT_NO_THROW({
      try {
        const RingContents got = read();
        EXPECT_LE(got.events.size(), static_cast<std::size_t>(FlightRing::kNum_events));
        EXPECT_LE(got.failure.size(), 16000U);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::data) << "round " << round;
      }
    });
  }
}

TEST_F(FlightRingTest, TextCannotReachATerminalsControls) {
  FlightRing ring(dir_, owner_);
  ring.set_failure("a\x1b[31mb\nc\r\xff");
  ring.note(1, "x\ny\x07");
  EXPECT_EQ(read().failure, "a\\x1b[31mb\nc\\r\\xff");
  EXPECT_EQ(read().events.at(0).text, "x\\ny\\x07");
}

TEST_F(FlightRingTest, RefusesWhatIsNoRing) {
  EXPECT_EQ(exit_of([&] { (void)read(); }), Exit::missing);
  { const FlightRing ring(dir_, owner_); }
  const std::string good = bytes();
  overwrite(good.substr(0, good.size() - 1));
  EXPECT_EQ(exit_of([&] { (void)read(); }), Exit::data);
  overwrite("DLTRING2" + good.substr(8));
  EXPECT_EQ(exit_of([&] { (void)read(); }), Exit::data);
}

TEST_F(FlightRingTest, FileAndFolderAreThisUsersAlone) {
  const FlightRing ring(dir_, owner_);
  struct stat found {};
  ASSERT_EQ(::stat(dir_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0700U);
  ASSERT_EQ(::stat(ring_path(dir_, 3).c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
}

TEST_F(FlightRingTest, RefusesAFolderThatOthersMayUse) {
  ASSERT_EQ(::mkdir(dir_.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(dir_.c_str(), 0750), 0);
  EXPECT_EQ(exit_of([&] { const FlightRing ring(dir_, owner_); }), Exit::denied);
}

TEST_F(FlightRingTest, RefusesAFolderThatIsALink) {
  ASSERT_EQ(::mkdir((temp_.path() + "/other").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("other", dir_.c_str()), 0);
  EXPECT_EQ(exit_of([&] { const FlightRing ring(dir_, owner_); }), Exit::denied);
}

TEST_F(FlightRingTest, DoesNotFollowALinkInItsPlace) {
  ASSERT_EQ(::mkdir(dir_.c_str(), 0700), 0);
  std::ofstream(temp_.path() + "/victim") << "precious";
  ASSERT_EQ(::symlink("../victim", ring_path(dir_, 3).c_str()), 0);
  const FlightRing ring(dir_, owner_);
  EXPECT_EQ(read_file(temp_.path() + "/victim"), "precious");
  EXPECT_EQ(read().owner.rank, 3);
}

}  // namespace
}  // namespace dlt::observe

// SPDX-License-Identifier: Apache-2.0
#include "observe/trace_pulse.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "observe/fixed_clock.h"

namespace dlt::observe {
namespace {

class CountingPulse final : public Pulse {
 public:
  void mark(const Mark& /*mark*/) noexcept override { ++marks; }
  void saved(SavedIn /*where*/, std::int64_t /*step*/) noexcept override { ++saves; }
  int marks = 0, saves = 0;
};

class TracePulseTest : public testing::Test {
 protected:
  CountingPulse next_;
  test::FixedClock clock_;
  TracePulse pulse_{next_, clock_, 4};
};

TEST_F(TracePulseTest, PassesEverythingOn) {
  pulse_.mark({});
  pulse_.start();
  pulse_.mark({});
  pulse_.saved(SavedIn::disk, 1);
  EXPECT_EQ(next_.marks, 2);
  EXPECT_EQ(next_.saves, 1);
}

TEST_F(TracePulseTest, KeepsWhatCameBetweenStartAndStop) {
  pulse_.mark({.step = 1});
  pulse_.start();
  clock_.now_s = 7;
  pulse_.mark({.step = 2});
  std::thread other([&] { pulse_.mark({.step = 3}); });
  const std::thread::id id = other.get_id();
  other.join();
  const std::vector<TracePulse::Note> notes = pulse_.stop();
  pulse_.mark({.step = 4});
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[0].mark.step, 2);
  EXPECT_DOUBLE_EQ(notes[0].time_s, 7);
  EXPECT_EQ(notes[0].thread, std::this_thread::get_id());
  EXPECT_EQ(notes[1].thread, id);
  EXPECT_TRUE(pulse_.stop().empty());
}

TEST_F(TracePulseTest, KeepsNoMoreThanItHasRoomFor) {
  pulse_.start();
  for (int i = 0; i < 6; ++i) pulse_.mark({});
  EXPECT_EQ(pulse_.stop().size(), 4U);
  EXPECT_EQ(next_.marks, 6);
}

}  // namespace
}  // namespace dlt::observe

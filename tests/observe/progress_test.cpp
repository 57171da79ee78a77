// SPDX-License-Identifier: Apache-2.0
#include "observe/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "observe/fixed_clock.h"
#include "support/allocation_count.h"

namespace dlt::observe::test {
namespace {

ProgressState state_at(std::int64_t step) {
  return {.step = step,
          .num_steps = 460,
          .epoch = 2,
          .num_epochs = 20,
          .samples_per_s = 12345,
          .values = {{"loss", 0.43121}, {"accuracy", 0.871}}};
}

/// What is written to stderr meanwhile.
template <typename Action>
std::string shown(Action action) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

std::string formatted(const ProgressState& state, double seconds_to_go) {
  const FixedClock clock;
  return Progress(ProgressStyle::quiet, clock).format(state, seconds_to_go);
}

TEST(Progress, HasTheFormOfItsDocumentation) {
  EXPECT_EQ(formatted(state_at(70), 4.2),
            "epoch 3/20  step 70/460  loss 0.4312  accuracy 0.871  12.3k samples/s  4 s to go");
}

TEST(Progress, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(formatted({.step = 7, .num_steps = 100}, -1), "step 7/100");
}

TEST(Progress, CountsTheLastEpochOnce) {
  EXPECT_THAT(formatted({.step = 9, .num_steps = 9, .epoch = 20, .num_epochs = 20}, -1),
              testing::StartsWith("epoch 20/20  "));
}

TEST(Progress, WritesTimesForPeople) {
  const auto time = [](double seconds) {
    return formatted({.step = 1, .num_steps = 2}, seconds).substr(std::string("step 1/2  ").size());
  };
  EXPECT_EQ(time(0), "0 s to go");
  EXPECT_EQ(time(59.4), "59 s to go");
  EXPECT_EQ(time(59.6), "1:00 min to go");
  EXPECT_EQ(time(605), "10:05 min to go");
  EXPECT_EQ(time(7500), "2:05 h to go");
  EXPECT_EQ(time(3 * 86400), "3.0 days to go");
  EXPECT_EQ(time(1e300), "11574.1 days to go");
}

TEST(Progress, WritesSpeedsForPeople) {
  const auto speed = [](double per_s) {
    return formatted({.step = 1, .num_steps = 2, .samples_per_s = per_s}, -1)
        .substr(std::string("step 1/2  ").size());
  };
  EXPECT_EQ(speed(3.14), "3.1 samples/s");
  EXPECT_EQ(speed(987.6), "988 samples/s");
  EXPECT_EQ(speed(2.5e6), "2.5M samples/s");
}

TEST(Progress, IsOnePlainLineAnIntervalWhereThereIsNoTerminal) {
  FixedClock clock;
  Progress progress(ProgressStyle::plain, clock, 2.0);
  EXPECT_EQ(shown([&] {
              for (std::int64_t step = 0; step <= 100; ++step) {
                progress.update(state_at(step));
                clock.now_s += 0.0625;  // 32 steps an interval
              }
              progress.finish();
            }),
            "epoch 3/20  step 32/460  loss 0.4312  accuracy 0.871  12.3k samples/s  27 s to go\n"
            "epoch 3/20  step 64/460  loss 0.4312  accuracy 0.871  12.3k samples/s  25 s to go\n"
            "epoch 3/20  step 96/460  loss 0.4312  accuracy 0.871  12.3k samples/s  23 s to go\n");
}

TEST(Progress, IsRewrittenInPlaceOnATerminal) {
  FixedClock clock;
  Progress progress(ProgressStyle::terminal, clock);
  ProgressState state{.step = 1, .num_steps = 30};
  EXPECT_EQ(shown([&] { progress.update(state); }), "\rstep 1/30\x1b[K");
  EXPECT_EQ(shown([&] {
              for (; state.step < 10; ++state.step) progress.update(state);
            }),
            "");  // not more than ten times a second
  clock.now_s += 2;
  EXPECT_EQ(shown([&] { progress.update(state); }), "\rstep 10/30  4 s to go\x1b[K");
  state.step = 30;
  EXPECT_EQ(shown([&] { progress.update(state); }), "\rstep 30/30\x1b[K");  // the last one at once
  EXPECT_EQ(shown([&] { progress.finish(); }), "\n");
  EXPECT_EQ(shown([&] { progress.finish(); }), "");
}

TEST(Progress, FitsTheWidthOfTheTerminalAndCutsNoCharacter) {
  const FixedClock clock;  // stderr is no terminal here: 80 columns are taken
  Progress progress(ProgressStyle::terminal, clock);
  std::string name;
  for (int i = 0; i < 100; ++i) name += "\xc3\xbc";
  const ProgressState state{.step = 1, .num_steps = 2, .values = {{name, 1}}};
  EXPECT_EQ(shown([&] { progress.update(state); }),
            "\rstep 1/2  " + name.substr(0, 2 * 69) + "\x1b[K");
}

TEST(Progress, PutsLinesAboveItself) {
  const FixedClock clock;
  Progress progress(ProgressStyle::terminal, clock);
  EXPECT_EQ(shown([&] { progress.line("before"); }), "before\n");
  EXPECT_EQ(shown([&] {
              progress.update({.step = 1, .num_steps = 9});
              progress.line("eval  accuracy 0.9");
            }),
            "\rstep 1/9\x1b[K\r\x1b[Keval  accuracy 0.9\nstep 1/9");
  Progress plain(ProgressStyle::plain, clock);
  EXPECT_EQ(shown([&] { plain.line("eval"); }), "eval\n");
}

TEST(Progress, IsSilentIfQuiet) {
  FixedClock clock;
  Progress progress(ProgressStyle::quiet, clock);
  EXPECT_EQ(shown([&] {
              for (std::int64_t step = 0; step < 460; ++step) {
                clock.now_s += 1;
                progress.update(state_at(step));
              }
              progress.line("x");
              progress.finish();
            }),
            "");
}

TEST(Progress, AllocatesNothingUnlessALineIsDue) {
  const FixedClock clock;
  for (const ProgressStyle style : {ProgressStyle::terminal, ProgressStyle::plain}) {
    Progress progress(style, clock);
    ProgressState state = state_at(1);
    (void)shown([&] { progress.update(state); });
    const long before = dlt::test::num_allocations();
    for (; state.step < 400; ++state.step) progress.update(state);
    EXPECT_EQ(dlt::test::num_allocations(), before);
  }
}

}  // namespace
}  // namespace dlt::observe::test

// SPDX-License-Identifier: Apache-2.0
// What a supervisor does: starts, restarts, stops, grows, ends.
#include "launcher/supervise/supervisor.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "supervised_job.h"

namespace dlt::supervise {
namespace {

using observe::Phase;
using observe::SavedIn;

void finish(SupervisedJob& job, Exit exit) {
  job.bye_all(exit);
  job.job_ended(static_cast<int>(exit));
  job.pass(1);
}

TEST(Supervisor, ARunThatIsDoneEndsWith0) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run();
  finish(job, Exit::ok);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::ok);
  EXPECT_EQ(job.kills.size(), 1U);  // what is left is swept
  EXPECT_FALSE(job.event("run_end"));
}

TEST(Supervisor, CodesThatAnotherTryWouldEndWithArePassedOn) {
  for (const int code : {64, 65, 66, 74, 77, 78, 80}) {
    SupervisedJob job(SupervisedJob::ranks(2));
    job.run();
    job.hear(1, launcher::Failed{.exit = static_cast<Exit>(code)});
    job.job_ended(code);
    job.pass(6);
    ASSERT_TRUE(job.ended()) << code;
    EXPECT_EQ(static_cast<int>(job.ends.front().exit), code);
    EXPECT_EQ(job.launches.size(), 1U);
    EXPECT_TRUE(job.event("run_end"));
  }
}

TEST(Supervisor, AFullDiskIsAFaultToo) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.run();
  job.hear(0, launcher::Failed{.exit = Exit::io, .text = "no space left"});
  job.job_ended(74);
  job.pass(2);
  EXPECT_EQ(job.text("fault", "kind"), "disk_full");
}

TEST(Supervisor, WhatIsUnavailableBeforeTheFirstStepIsPassedOn) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.connect();
  job.hear(0, launcher::Failed{.exit = Exit::unavailable});
  job.job_ended(69);
  job.pass(2);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::unavailable);
}

TEST(Supervisor, WhatIsUnavailableLaterIsTriedAgain) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.run();
  job.hear(0, launcher::Failed{.exit = Exit::unavailable});
  job.job_ended(69);
  job.pass(2);
  EXPECT_EQ(job.launches.size(), 2U);
}

TEST(Supervisor, AStarterThatCannotStartIsExplained) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.tell(JobEnded{.generation = 1, .exit_code = 1, .last_lines = {"not enough slots"}});
  job.pass(1);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::unavailable);
  EXPECT_NE(job.reports.back().find("not enough slots"), std::string::npos);
}

TEST(Supervisor, AHostThatDoesNotAnswerIsNamedWhereAStarterCannotStart) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.up = {"a"};
  job.job_ended(1);
  job.pass(1);
  ASSERT_TRUE(job.ended());
  EXPECT_NE(job.reports.back().find("host b does not answer"), std::string::npos);
}

TEST(Supervisor, ARankKilledBeforeItSpokeIsTriedAgain) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.job_ended(128 + SIGKILL);
  job.pass(3);
  EXPECT_EQ(job.launches.size(), 2U);
}

TEST(Supervisor, NothingIsLaunchedBeforeTheOldGenerationIsSwept) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.sweeps = false;
  job.run(3);
  job.gone(0);
  job.pass(10);
  EXPECT_EQ(job.kills.size(), 1U);
  EXPECT_EQ(job.launches.size(), 1U);
  job.tell(Swept{.generation = 1});
  EXPECT_EQ(job.launches.size(), 2U);
  EXPECT_EQ(job.launches.back().generation, 2);
}

TEST(Supervisor, ProcessesThatDoNotEndEndTheRun) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.sweeps = false;
  job.run(3);
  job.gone(0);
  job.pass(100);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::unavailable);
  EXPECT_EQ(job.kills.size(), 4U);
}

TEST(Supervisor, TheRestartIsLoggedWithTheStepItReallyBeginsAt) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(0);
  job.saved(SavedIn::memory, 12);
  job.beat_all(Phase::data, 12);
  job.gone(1);
  job.pass(1);
  EXPECT_NE(job.reports.back().find("from step 12 (memory) on 2 ranks"), std::string::npos);
  EXPECT_FALSE(job.event("restart"));
  job.run(10);
  EXPECT_EQ(job.number("restart", "from_step"), 10);
}

TEST(Supervisor, ASpentBudgetEndsWith82) {
  SupervisorOptions options = SupervisedJob::ranks(4);
  options.fault.max_restarts = 2;
  SupervisedJob job(options);
  for (int rank = 0; rank < 4; ++rank) {
    job.run(5);
    job.gone(rank);
    job.pass(10);
  }
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::budget);
  EXPECT_EQ(job.launches.size(), 4U);
}

TEST(Supervisor, ACrashLoopEndsWith82AndSaysSo) {
  SupervisedJob job(SupervisedJob::ranks(4));
  for (int i = 0; i < 2; ++i) {
    job.run(5);
    job.gone(1);
    job.pass(3);
  }
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::budget);
  EXPECT_EQ(job.text("fault", "kind"), "crash_loop");
  EXPECT_EQ(job.number("run_end", "code"), 82);
}

TEST(Supervisor, APoisonedStepIsHandedToTheNextGenerations) {
  SupervisorOptions options = SupervisedJob::ranks(2);
  options.fault.skip_poison = true;
  SupervisedJob job(options);
  for (int i = 0; i < 2; ++i) {
    job.run(5);
    job.gone(1);
    job.pass(3);
  }
  ASSERT_EQ(job.launches.size(), 3U);
  EXPECT_EQ(job.launches.back().skip_steps, std::vector<std::int64_t>{5});
}

TEST(Supervisor, AStopLetsTheRanksSaveAndEndsWith75) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(3);
  job.tell(StopAsked{.grace_s = 30, .signal = SIGTERM});
  job.tell(StopAsked{.grace_s = 30, .signal = SIGTERM});
  ASSERT_EQ(job.stops.size(), 1U);
  EXPECT_EQ(job.stops.front().stop.grace_s, 30);
  job.pass(5);
  job.saved(SavedIn::disk, 4);
  finish(job, Exit::preempted);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::preempted);
  EXPECT_TRUE(job.event("preempt"));
}

TEST(Supervisor, RanksThatConnectAfterAStopWasAskedAreToldToo) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.tell(StopAsked{.signal = SIGTERM});
  job.connect();
  ASSERT_EQ(job.stops.size(), 2U);
  EXPECT_EQ(job.stops.back().rank, 0);
}

TEST(Supervisor, RanksThatDoNotSaveInTimeAreKilledBeforeTheGraceIsOver) {
  SupervisorOptions options = SupervisedJob::ranks(1);
  options.saved_step = 40;
  SupervisedJob job(options);
  job.run(42);
  job.tell(StopAsked{.grace_s = 20, .signal = SIGTERM});
  job.pass(17.9);
  EXPECT_TRUE(job.kills.empty());
  job.pass(0.2);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::preempted);  // the checkpoint of step 40
}

TEST(Supervisor, ASecondInterruptKillsAtOnce) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.run(3);
  job.tell(StopAsked{.signal = SIGINT});
  job.tell(StopAsked{.signal = SIGINT});
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::peer_lost);  // nothing was saved
}

TEST(Supervisor, AStopWhileNothingRunsEndsAtOnce) {
  SupervisorOptions options = SupervisedJob::ranks(2);
  options.fault.backoff_s = 60;
  options.saved_step = 5;
  SupervisedJob job(options);
  job.job_ended(128 + SIGKILL);
  job.pass(5);
  job.tell(StopAsked{.signal = SIGTERM});
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::preempted);
  EXPECT_EQ(job.launches.size(), 1U);
}

TEST(Supervisor, AFaultDuringAStopIsNotRestarted) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(3);
  job.saved(SavedIn::disk, 3);
  job.tell(StopAsked{.signal = SIGTERM});
  job.gone(1);
  job.pass(2);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::preempted);
  EXPECT_EQ(job.launches.size(), 1U);
}

TEST(Supervisor, RanksThatWerePreemptedThemselvesEndWith75) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(3);
  finish(job, Exit::preempted);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::preempted);
}

TEST(Supervisor, ItGrowsAtTheNextCheckpointWhenAHostIsBackAndCountsNoRestart) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.run(3);
  job.up = {"a"};
  job.job_ended(205);
  job.pass(2);
  ASSERT_EQ(job.launches.back().ranks, 2);
  job.up = {"a", "b"};
  job.run(3);
  for (int step = 4; step < 80; ++step) {
    job.pass(1);
    job.beat_all(Phase::data, step);
  }
  EXPECT_TRUE(job.stops.empty());
  job.saved(SavedIn::disk, 80);
  ASSERT_EQ(job.stops.size(), 1U);
  EXPECT_EQ(job.stops.front().stop.reason, launcher::Stop::Reason::more_hosts);
  finish(job, Exit::preempted);
  ASSERT_EQ(job.launches.size(), 3U);
  EXPECT_EQ(job.launches.back().ranks, 4);
  EXPECT_EQ(job.count("restart"), 1);
}

TEST(Supervisor, TooFewHostsAreWaitedForAndThenItEndsWith69) {
  SupervisorOptions options = SupervisedJob::two_hosts();
  options.fault.min_ranks = 3;
  SupervisedJob job(options);
  job.run(3);
  job.up = {"a"};
  job.job_ended(205);
  job.pass(590);
  EXPECT_EQ(job.launches.size(), 1U);
  EXPECT_FALSE(job.ended());
  job.pass(20);
  ASSERT_TRUE(job.ended());
  EXPECT_EQ(job.ends.front().exit, Exit::unavailable);
}

TEST(Supervisor, ItGoesOnWhenTheHostsAreBack) {
  SupervisorOptions options = SupervisedJob::two_hosts();
  options.fault.min_ranks = 3;
  SupervisedJob job(options);
  job.run(3);
  job.up = {"a"};
  job.job_ended(205);
  job.pass(60);
  job.up = {"a", "b"};
  job.pass(11);
  ASSERT_EQ(job.launches.size(), 2U);
  EXPECT_EQ(job.launches.back().ranks, 4);
}

TEST(Supervisor, HostsThatHoldTooFewRanksAreRefused) {
  SupervisorOptions options = SupervisedJob::ranks(4);
  options.hosts = {{"a", 1}};
  options.fault.min_ranks = 2;
  EXPECT_THROW(Supervisor{options}, Error);
}

TEST(Supervisor, AStragglerIsLogged) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.connect();
  for (int step = 0; step < 60; ++step) {
    for (int rank = 0; rank < 2; ++rank) {
      launcher::Beat beat{
          .mark = {.phase = Phase::data, .step = step}, .mono_s = job.now_s, .marks = step + 1};
      beat.phase_s[static_cast<std::size_t>(Phase::forward)] =
          static_cast<float>(step) * (rank == 1 ? 0.9F : 0.3F);
      job.hear(rank, beat);
    }
    job.pass(1);
  }
  EXPECT_EQ(job.number("straggler", "rank"), 1);
  EXPECT_EQ(job.text("straggler", "phase"), "forward");
}

}  // namespace
}  // namespace dlt::supervise

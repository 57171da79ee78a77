// SPDX-License-Identifier: Apache-2.0
// What a supervisor notices, whom it blames, and what it leaves alone.
#include <gtest/gtest.h>

#include "supervised_job.h"

namespace dlt::supervise {
namespace {

using observe::Phase;

TEST(Detection, ADeadRankIsNamedWithinTwoSecondsThoughOthersFollow) {
  SupervisedJob job(SupervisedJob::ranks(4));
  job.run(7);
  job.gone(2);
  job.hear(0, launcher::Failed{.exit = Exit::peer_lost});
  job.pass(0.2);
  job.gone(1);
  job.pass(1);
  EXPECT_EQ(job.text("fault", "kind"), "death");
  EXPECT_EQ(job.number("fault", "rank"), 2);
  EXPECT_EQ(job.number("fault", "pid"), 102);
  EXPECT_EQ(job.number("fault", "step"), 7);
  EXPECT_EQ(job.text("fault", "phase"), "data");
  EXPECT_EQ(job.launches.size(), 2U);
}

TEST(Detection, ARankOnAnotherHostIsMissedByItsConnectionAndTheJobsEnd) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.run();
  job.tell(Disconnected{.rank = 3, .generation = 1});
  job.pass(1);
  job.tell(Disconnected{.rank = 2, .generation = 1});
  job.job_ended(128 + SIGSEGV);
  job.pass(1);
  EXPECT_EQ(job.number("fault", "rank"), 3);
  EXPECT_NE(job.reports.back().find("SIGSEGV"), std::string::npos);
}

TEST(Detection, WhoWaitsIsNotBlamedForAHang) {
  SupervisedJob job(SupervisedJob::ranks(3));
  job.run(4);
  job.beat(0, Phase::reduce, 4);
  job.beat(2, Phase::reduce, 4);
  job.pass(29);
  EXPECT_FALSE(job.event("fault"));
  job.pass(2);
  EXPECT_EQ(job.text("fault", "kind"), "hang");
  EXPECT_EQ(job.number("fault", "rank"), 1);
  EXPECT_EQ(job.stacks, 1);
}

TEST(Detection, AStoppedProcessIsBlamedWhereverItStands) {
  SupervisedJob job(SupervisedJob::ranks(3));
  job.run(4);
  job.beat_all(Phase::reduce, 4);
  job.findings = {{.rank = 2, .process_state = 'T'}};
  job.pass(31);
  EXPECT_EQ(job.number("fault", "rank"), 2);
  EXPECT_NE(job.reports.back().find("is stopped"), std::string::npos);
}

void take_fast_steps(SupervisedJob& job) {
  job.run();
  for (int step = 1; step <= 100; ++step) {
    job.pass(0.5);
    job.beat_all(Phase::data, step);
  }
}

TEST(Detection, HowLongARankWasSilentIsNotForgottenWhenItIsContinuedToBeKilled) {
  SupervisorOptions options = SupervisedJob::ranks(2);
  options.fault.hang_timeout_s = 4;
  SupervisedJob job(options);
  job.run(4);
  job.pass(3.9);
  job.hear(1, launcher::Failed{.exit = Exit::peer_lost});
  job.beat(0, Phase::forward, 4);  // mpirun sends SIGCONT before SIGTERM
  job.pass(1);
  EXPECT_EQ(job.number("fault", "rank"), 0);
  EXPECT_NEAR(job.real("fault", "detect_ms"), 3900, 1);
}

TEST(Detection, APauseOfFourSecondsIsLegalHoweverFastTheStepsAre) {
  SupervisedJob job(SupervisedJob::ranks(2));
  take_fast_steps(job);
  job.pass(4);
  job.beat_all(Phase::data, 101);
  job.pass(4);
  EXPECT_FALSE(job.event("fault"));
}

TEST(Detection, AHangInFastStepsIsFoundBeforeTheTimeout) {
  SupervisedJob job(SupervisedJob::ranks(2));
  take_fast_steps(job);
  job.pass(11);
  EXPECT_EQ(job.text("fault", "kind"), "hang");
}

TEST(Detection, TheTimeoutIsTheCeiling) {
  SupervisorOptions options = SupervisedJob::ranks(2);
  options.fault.hang_timeout_s = 5;
  SupervisedJob job(options);
  job.run();
  job.pass(6);
  EXPECT_EQ(job.text("fault", "kind"), "hang");
}

TEST(Detection, StartCheckpointAndEvaluationMayTakeLonger) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.connect();
  job.pass(100);
  job.beat_all(Phase::data, 0);
  job.beat(0, Phase::checkpoint, 1);
  job.beat(1, Phase::reduce, 1);
  job.pass(100);
  job.beat(0, Phase::eval, 1);
  job.pass(100);
  EXPECT_FALSE(job.event("fault"));
}

TEST(Detection, ARankThatNeverConnectsIsNamed) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.hear(0, launcher::Hello{.rank = 0, .pid = 100, .host = "a"});
  for (int i = 0; i < 4; ++i) {
    job.beat(0, Phase::start, 0);
    job.pass(30.5);
  }
  EXPECT_EQ(job.number("fault", "rank"), 1);
}

TEST(Detection, OwnPausesBlameNobody) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run();
  job.pass(20);
  job.stand_still(60);
  job.pass(5);
  EXPECT_FALSE(job.event("fault"));
  job.pass(10);
  EXPECT_TRUE(job.event("fault"));
}

TEST(Detection, RingsThatShowLifeClearASuspicion) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.run();
  RankFinding alive{.rank = 0, .read_mono_s = 50, .process_state = 'R'};
  alive.ring.emplace();
  alive.ring->owner.generation = 1;
  alive.ring->events.push_back({.mono_s = 49, .mark = {.phase = Phase::data, .step = 9}});
  job.findings = {alive};
  job.pass(35);
  EXPECT_FALSE(job.event("fault"));
  EXPECT_TRUE(job.kills.empty());
}

TEST(Detection, AShortCutCausesNothing) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.run();
  job.up = {"a"};
  for (const int rank : {2, 3}) job.tell(Disconnected{.rank = rank, .generation = 1});
  job.pass(20);
  job.up = {"a", "b"};
  for (const int rank : {2, 3}) {
    job.hear(rank, launcher::Hello{.rank = rank, .pid = 100 + rank, .host = "b"});
  }
  job.beat_all(Phase::data, 1);
  job.pass(20);
  EXPECT_FALSE(job.event("fault"));
}

TEST(Detection, AHostThatDoesNotAnswerWhileTheJobLivesIsCutOff) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.run();
  job.beat(0, Phase::reduce, 0);
  job.beat(1, Phase::reduce, 0);
  job.up = {"a"};
  job.unreachable = {"b"};
  job.pass(32);
  EXPECT_EQ(job.text("fault", "kind"), "partition");
  EXPECT_EQ(job.text("fault", "host"), "b");
  ASSERT_EQ(job.launches.size(), 2U);
  EXPECT_EQ(job.launches.back().ranks, 2);
  EXPECT_EQ(job.host_of(1), "a");
}

TEST(Detection, ALostHostIsNamedAndLeftOut) {
  SupervisedJob job(SupervisedJob::two_hosts());
  job.run();
  job.up = {"a"};
  job.job_ended(205);
  job.pass(2);
  EXPECT_EQ(job.text("fault", "kind"), "host_lost");
  EXPECT_EQ(job.text("fault", "host"), "b");
  EXPECT_EQ(job.launches.back().ranks, 2);
}

TEST(Detection, AKilledRankOnAHostThatRanOutOfMemoryWasKilledForIt) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run();
  job.tell(OutOfMemory{.host = "a"});
  job.gone(1);
  job.pass(1);
  EXPECT_EQ(job.text("fault", "kind"), "out_of_memory");
  EXPECT_EQ(job.number("fault", "rank"), 1);
}

TEST(Detection, RanksThatAgreedOnTheCulpritAreBelieved) {
  SupervisedJob job(SupervisedJob::ranks(3));
  job.run();
  for (const int rank : {0, 1}) {
    job.hear(rank, launcher::Failed{.exit = Exit::internal, .origin_rank = 2, .text = "why"});
  }
  job.pass(1);
  EXPECT_EQ(job.number("fault", "rank"), 2);
  EXPECT_NE(job.reports.back().find("it said: why"), std::string::npos);
}

TEST(Detection, AllInReduceAtDifferentStepsIsADesync) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(5);
  job.beat(0, Phase::reduce, 5);
  job.beat(1, Phase::reduce, 6);
  for (const int rank : {0, 1}) {
    RankFinding found{.rank = rank, .read_mono_s = 100, .process_state = 'S'};
    found.ring.emplace();
    found.ring->owner.generation = 1;
    found.ring->events.push_back(
        {.mono_s = 60, .mark = {.phase = Phase::reduce, .step = 5 + rank}});
    job.findings.push_back(found);
  }
  job.pass(32);
  EXPECT_EQ(job.text("fault", "kind"), "desync");
  EXPECT_EQ(job.number("fault", "rank"), 0);
}

TEST(Detection, AJobThatEndsWellThoughRanksDidNotSaySoIsAFault) {
  SupervisedJob job(SupervisedJob::ranks(2));
  job.run(3);
  job.job_ended(0);
  job.pass(1);
  EXPECT_EQ(job.text("fault", "kind"), "death");
  EXPECT_EQ(job.launches.size(), 2U);
}

TEST(Detection, MessagesOfAnOldGenerationHaveNoEffect) {
  SupervisedJob job(SupervisedJob::ranks(1));
  job.run(3);
  job.gone(0);
  job.pass(2);
  ASSERT_EQ(job.launches.size(), 2U);
  job.tell(ProcessGone{.rank = 0, .generation = 1});
  job.tell(Heard{.rank = 0, .generation = 1, .message = launcher::Failed{.exit = Exit::data}});
  job.pass(5);
  EXPECT_EQ(job.launches.size(), 2U);
  EXPECT_FALSE(job.ended());
}

}  // namespace
}  // namespace dlt::supervise

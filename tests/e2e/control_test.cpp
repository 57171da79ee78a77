// SPDX-License-Identifier: Apache-2.0
// The rank program and a control server, without dlrun.
#include <chrono>
#include <csignal>
#include <future>

#include <gtest/gtest.h>

#include "base/text.h"
#include "e2e/e2e.h"
#include "launcher/control/control_support.h"
#include "observe/flight_ring.h"

namespace dlt::e2e {
namespace {

using launcher::Beat;
using launcher::ControlServer;
using launcher::Stop;
using launcher::test::ServerThread;
using observe::Phase;

class Control : public ::testing::Test {
 protected:
  test::TempFolder temp_;
  std::string run_ = temp_ / "run";
  std::string memory_ = temp_ / "memory";
  std::string config_ = temp_ / "cfg.yaml";

  void SetUp() override { test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_)); }
  [[nodiscard]] ProgramOptions under(const ServerThread& server) const {
    return {.env = {{"DLRUN_CONTROL", server.address()},
                    {"DLRUN_TOKEN", launcher::test::kToken},
                    {"DLRUN_GENERATION", "1"},
                    {"DLRUN_MEMORY", memory_}}};
  }
  /// A run that goes on until somebody ends it.
  [[nodiscard]] Words long_run() const {
    return {config_, "--set", "train.epochs=100000", "--set", "fault.heartbeat_ms=20"};
  }
  /// Marks of every phase in both, those of leaves with a row of the rank's own leaves.
  void expect_rings_of_two_ranks() const {
    for (int rank = 0; rank < 2; ++rank) {
      const observe::RingContents ring = observe::read_ring(observe::ring_path(memory_, rank));
      EXPECT_EQ(ring.owner.rank, rank);
      EXPECT_EQ(ring.file, "datasets/digits.h5");
      EXPECT_EQ(ring.failure, "");
      EXPECT_EQ(ring.num_torn, 0);
      std::array<int, observe::kPhaseNames.size()> marks{};
      for (const observe::RingEvent& event : ring.events) {
        if (event.kind != observe::RingEventKind::mark) continue;
        ++marks[static_cast<std::size_t>(event.mark.phase)];
        if (event.mark.phase != Phase::forward) continue;
        EXPECT_EQ(event.mark.leaf / 2, rank);
        EXPECT_GE(event.mark.row, 0);
      }
      for (std::size_t phase = 0; phase < marks.size(); ++phase) {
        EXPECT_GE(marks[phase], 1) << observe::kPhaseNames[phase] << " of rank " << rank;
      }
      EXPECT_EQ(ring.events.back().mark.phase, Phase::end);
    }
  }
  static std::future<ProgramResult> start(int ranks, const Words& words,
                                          const ProgramOptions& options) {
    return std::async(std::launch::async, [=] { return dltrain_on(ranks, words, options); });
  }
};

TEST_F(Control, ARunTellsItsWholeStory) {
  ServerThread server;
  const ProgramResult got = dltrain_ranks(2, {config_}, under(server));
  ASSERT_EQ(got.exit_code, 0) << got.err;
  for (const std::string rank : {"0/1 ", "1/1 "}) {
    EXPECT_EQ(server.journal().count(rank + "hello"), 1);
    EXPECT_EQ(server.journal().count(rank + "bye 0"), 1);
    EXPECT_GE(server.journal().count(rank + "beat"), 2);
  }
  EXPECT_EQ(server.journal().count("refused"), 0);
  expect_rings_of_two_ranks();
}

// Their leaves run side by side, by other code.
TEST_F(Control, SoDoesOneWhoseLeavesWaitForEachOther) {
  test::write_file(config_,
                   replaced(replaced(digits_yaml(), "RUN_DIR", run_), "    - dense: {units: 10}",
                            "    - batch_norm: {sync: true}\n    - dense: {units: 10}"));
  ServerThread server;
  const ProgramResult got = dltrain_ranks(2, {config_}, under(server));
  ASSERT_EQ(got.exit_code, 0) << got.err;
  expect_rings_of_two_ranks();
}

TEST_F(Control, StopSavesAndExits75) {
  ServerThread server;
  std::future<ProgramResult> run = start(2, long_run(), under(server));
  ASSERT_TRUE(server.journal().wait_for("beat forward"));
  server.call([](ControlServer& s) { s.send_all(Stop{.grace_s = 30}); });
  const ProgramResult got = run.get();
  EXPECT_EQ(got.exit_code, 75) << got.err;
  EXPECT_EQ(server.journal().count("bye 75"), 2);
  EXPECT_NE(got.out.find("preempted"), std::string::npos) << got.out;
}

TEST_F(Control, AWrongTokenIsRefusedWith77) {
  ServerThread server({.token = launcher::test::kOther_token});
  const ProgramResult got = dltrain({config_}, under(server));
  EXPECT_EQ(got.exit_code, 77);
  EXPECT_NE(got.err.find("holds another token"), std::string::npos) << got.err;
  EXPECT_EQ(server.journal().count("refused"), 1);
  EXPECT_FALSE(exists(run_));
}

TEST_F(Control, RanksEndWithin5SecondsOfDlrun) {
  ServerThread server;
  std::future<ProgramResult> run = start(2, long_run(), under(server));
  ASSERT_TRUE(server.journal().wait_for("1/1 beat forward"));
  server.stop();
  const auto before = std::chrono::steady_clock::now();
  const ProgramResult got = run.get();
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(), 5);
  EXPECT_EQ(got.exit_code, 81) << got.err;
  EXPECT_EQ(count(got.err, "dltrain: error"), 1) << got.err;
  EXPECT_NE(observe::read_ring(observe::ring_path(memory_, 0)).failure.find("is gone"),
            std::string::npos);
}

TEST_F(Control, AFailureIsTold) {
  ServerThread server;
  const ProgramResult got = dltrain({config_, "--set", "train.epochs=0"}, under(server));
  EXPECT_EQ(got.exit_code, 78);
  EXPECT_EQ(server.journal().count("failed --set:1:14: error: train.epochs"), 1)
      << join(server.journal().lines(), "\n");
}

TEST_F(Control, Sigusr2WritesStacksAndTheRunGoesOn) {
  ServerThread server;
  std::future<ProgramResult> run = start(0, long_run(), under(server));
  ASSERT_TRUE(server.journal().wait_for("beat forward"));
  const std::int64_t pid = observe::read_ring(observe::ring_path(memory_, 0)).owner.pid;
  const std::string path = run_ + "/logs/stack-00.txt";
  ASSERT_EQ(::kill(static_cast<pid_t>(pid), SIGUSR2), 0);
  for (int i = 0; i < 1000 && !exists(path); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::string text = exists(path) ? read_file(path) : "";
  EXPECT_NE(text.find("stacks of rank 0 ("), std::string::npos) << text;
  EXPECT_NE(text.find("TrainLoop"), std::string::npos) << text;
  server.call([](ControlServer& s) { s.send_all(Stop{}); });
  EXPECT_EQ(run.get().exit_code, 75);
}

}  // namespace
}  // namespace dlt::e2e

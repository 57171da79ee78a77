// SPDX-License-Identifier: Apache-2.0
// dlrun from outside: jobs that are disturbed and end with the bits of those that are not.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"
#include "launcher/supervise/sweep.h"

namespace dlt::e2e {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Dlrun : public testing::Test {
 protected:
  Dlrun() {
    std::string yaml = replaced(digits_yaml(), "RUN_DIR", run_);
    yaml = replaced(yaml, "epochs: 1", "epochs: 16");
    // Slow enough to be met in the middle: a millisecond a step.
    yaml = replaced(yaml, "units: 16, activation: relu}",
                    "units: 500, activation: relu}\n"
                    "    - dense: {units: 500, activation: relu}");
    test::write_file(config_, yaml + "checkpoint: {every_steps: 100}\nfault: {backoff_s: 0.1}\n");
    fs::create_directories(tmp_);
  }

  ProgramResult dlrun(const Words& words, ProgramOptions options = {}) {
    Words all{DLTRAIN_DLRUN, "-n", "2", config_};
    all.insert(all.end(), words.begin(), words.end());
    options.env.emplace_back("TMPDIR", tmp_);
    return run_program(all, options);
  }
  /// The hash that mpirun alone comes to.
  std::string expected_hash(const Words& words = {}) {
    const std::string other = folder_ / "reference";
    Words all{config_, "--quiet", "--set", "run.dir=" + other};
    all.insert(all.end(), words.begin(), words.end());
    const ProgramResult got = dltrain_ranks(2, all);
    EXPECT_EQ(got.exit_code, 0) << got.err;
    return summary_hash(other);
  }
  [[nodiscard]] std::string events() const { return whole_file(run_ + "/events.jsonl"); }
  [[nodiscard]] pid_t process_called(const std::string& program) const {
    for (const auto& [pid, name] : processes_with(config_)) {
      if (name == program) return pid;
    }
    ADD_FAILURE() << "no process " << program;
    return 0;
  }
  /// Nothing of the job is left: no process within 5 s, nothing in memory or in TMPDIR.
  void expect_nothing_left() const {
    for (int i = 0; i < 500 && !processes_with(config_).empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    for (const auto& [pid, name] : processes_with(config_)) ADD_FAILURE() << name << " " << pid;
    EXPECT_THAT(list_directory(tmp_), testing::IsEmpty());
    EXPECT_FALSE(exists(supervise::memory_dir_of(run_)));
  }

  test::TempFolder folder_{std::vector{testing::TempDir()}};
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml", tmp_ = folder_ / "tmp";
};

TEST_F(Dlrun, TrainsToTheBitsOfMpirun) {
  const std::string expected = expected_hash();
  ASSERT_EQ(expected.size(), 64U);
  const ProgramResult got = dlrun({});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr(expected)) << "results of rank 0 go to stdout";
  EXPECT_THAT(got.err, HasSubstr("dlrun: 2 ranks, started by mpirun\n"));
  EXPECT_EQ(summary_hash(run_), expected);
  expect_nothing_left();

  const ProgramResult again = dlrun({"--quiet"});
  EXPECT_EQ(again.exit_code, 0) << "a finished run says so";
  EXPECT_THAT(again.out, HasSubstr("finished already"));
  EXPECT_EQ(again.err, "");
}

TEST_F(Dlrun, StartsAgainWhenARankIsKilled) {
  const std::string expected = expected_hash();
  std::jthread trouble([this] {
    wait_for_step(run_, 150);
    ::kill(process_called("dltrain"), SIGKILL);
  });
  const ProgramResult got = dlrun({"--quiet"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(summary_hash(run_), expected);
  for (const char* text : {"\"ev\": \"fault\"", "\"kind\": \"death\"", "\"ev\": \"restart\""})
    EXPECT_EQ(count(events(), text), 1) << text;
  EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "restarts"), "1");
  EXPECT_EQ(count(got.err, "dltrain: fault: "), 1) << got.err;
  expect_nothing_left();
}

TEST_F(Dlrun, LeavesNoProcessWhenItIsKilledAndGoesOnWhenItIsBack) {
  const std::string expected = expected_hash();
  std::jthread trouble([this] {
    wait_for_step(run_, 150);
    ::kill(process_called("dlrun"), SIGKILL);
  });
  EXPECT_EQ(dlrun({"--quiet"}).exit_code, 128 + SIGKILL);
  for (int i = 0; i < 500 && !processes_with(config_).empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_THAT(processes_with(config_), testing::IsEmpty());
  const ProgramResult again = dlrun({"--quiet"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(summary_hash(run_), expected);
  expect_nothing_left();
}

TEST_F(Dlrun, LeavesNoStoppedProcessWhenItIsKilled) {
  std::jthread trouble([this] {
    wait_for_step(run_, 50);
    ::kill(process_called("dltrain"), SIGSTOP);
    ::kill(process_called("dlrun"), SIGKILL);
  });
  EXPECT_EQ(dlrun({"--quiet"}).exit_code, 128 + SIGKILL);
  for (int i = 0; i < 500 && !processes_with(config_).empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (const auto& [pid, name] : processes_with(config_)) {
    ADD_FAILURE() << name << " " << pid << " is left";
    ::kill(pid, SIGKILL);
  }
  (void)run_program({"sh", "-c", supervise::remove_script(supervise::memory_dir_of(run_))});
}

TEST_F(Dlrun, SavesAndSaysSoWhenItIsToldToStop) {
  const Words longer{"--set", "train.epochs=48"};
  const std::string expected = expected_hash(longer);
  struct Wish {
    int signal;
    const char* program;
    int step;
  };
  for (const Wish& wish :
       {Wish{SIGTERM, "dlrun", 100}, Wish{SIGUSR1, "dlrun", 170}, Wish{SIGTERM, "mpirun", 300}}) {
    std::jthread trouble([&, this] {
      wait_for_step(run_, wish.step);
      ::kill(process_called(wish.program), wish.signal);
    });
    const ProgramResult got = dlrun(longer);
    EXPECT_EQ(got.exit_code, 75) << got.err;
    EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "status"), "preempted");
    expect_nothing_left();
  }
  EXPECT_EQ(dlrun(longer).exit_code, 0);
  EXPECT_EQ(summary_hash(run_), expected);
}

TEST_F(Dlrun, PassesMistakesOnOnceAndWithoutARestart) {
  const auto expect_once = [](const ProgramResult& got, int code, const std::string& text) {
    EXPECT_EQ(got.exit_code, code) << got.err;
    EXPECT_EQ(count(got.err, text), 1) << got.err;
    EXPECT_EQ(count(got.err, "error:"), 1) << got.err;
  };
  expect_once(dlrun({"--quiet", "--set", "fault.min_ranks=0"}), 78, "fault.min_ranks: expected");
  expect_once(dlrun({"--quiet", "--set", "train.leaves=0"}), 78, "train.leaves: expected");
  expect_once(dlrun({"--quiet", "--set", "data.train.inputs=/none"}), 65, "/none");
  expect_once(dlrun({"--quiet", "--set", "data.train.file=/none.h5"}), 66, "/none.h5");
  expect_once(dlrun({"--quiet", "--set", "optimizer.learning_rate=1e30"}), 80, "not finite");
  EXPECT_EQ(count(events(), "\"restart\""), 0);
  const ProgramResult both = dlrun({"--set", "fault.min_ranks=0", "--set", "train.leaves=0"});
  EXPECT_EQ(both.exit_code, 78);
  EXPECT_EQ(count(both.err, "error:"), 2) << both.err;
  expect_nothing_left();
}

TEST_F(Dlrun, LeavesNoFolderOfARunThatNeverWas) {
  EXPECT_EQ(dlrun({"--set", "train.leaves=0"}).exit_code, 78);
  EXPECT_FALSE(exists(run_));
  EXPECT_EQ(run_program({DLTRAIN_DLRUN, "-n", "2", folder_ / "none.yaml"}).exit_code, 66);
  EXPECT_EQ(run_program({DLTRAIN_DLRUN, "-n", "x", config_}).exit_code, 64);
}

TEST_F(Dlrun, NamesAControlPortInUse) {
  const int taken = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  ASSERT_EQ(::getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string where = cat("127.0.0.1:", ntohs(address.sin_port));
  const ProgramResult got = dlrun({"--set", "fault.control=" + where});
  ::close(taken);
  EXPECT_EQ(got.exit_code, 69) << got.err;
  EXPECT_THAT(got.err, HasSubstr(where));
  EXPECT_LT(got.wall_s, 2);
  expect_nothing_left();
}

TEST_F(Dlrun, RefusesARunThatAnotherDlrunTrains) {
  std::jthread trouble([this] {
    wait_for_step(run_, 50);
    const ProgramResult second = dlrun({"--quiet", "--set", "train.epochs=40"});
    EXPECT_EQ(second.exit_code, 69) << second.err;
    EXPECT_THAT(second.err, HasSubstr("another job trains in this folder"));
  });
  const ProgramResult got = dlrun({"--quiet", "--set", "train.epochs=40"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "restarts"), "0");
}

TEST_F(Dlrun, AStarterThatCannotStartIsQuotedAndTheRunEndsWith69) {
  const std::string starter = folder_ / "mpirun";
  test::write_file(starter,
                   "#!/bin/sh\n"
                   "[ \"$1\" != --version ] || exec \"" DLTRAIN_MPIEXEC
                   "\" --version\n"
                   "printf -- '-----\\nThere are not ' >&2\n"
                   "printf 'enough slots\\n-----\\n' >&2\n"
                   "exit 1\n");
  fs::permissions(starter, fs::perms::owner_all);
  const ProgramResult got = dlrun({"--mpirun", starter});
  EXPECT_EQ(got.exit_code, 69) << got.err;
  EXPECT_THAT(got.err, HasSubstr("got code 1 of the starter\n    There are not enough slots\n"));
  EXPECT_FALSE(exists(run_)) << "the folder of a run that never was";
}

}  // namespace
}  // namespace dlt::e2e

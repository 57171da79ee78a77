// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/verdict.h"

#include <csignal>

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

Fault segfault() {
  return {.kind = FaultKind::death,
          .rank = 2,
          .host = "node-b",
          .pid = 4711,
          .mark = {.phase = observe::Phase::backward, .step = 812, .row = 5120},
          .marked = true,
          .signal = SIGSEGV,
          .file = "datasets/digits.h5",
          .connected_once = true,
          .log_lines = {"one", "two"}};
}

TEST(Verdict, TellsWhoWhereHowAndWhatNext) {
  EXPECT_EQ(verdict(segfault(), {.generation = 2,
                                 .of_ranks = 4,
                                 .ranks = 4,
                                 .from_step = 812,
                                 .from = observe::SavedIn::memory,
                                 .backoff_s = 1,
                                 .used = 1,
                                 .budget = 5}),
            "dltrain: fault: rank 2 on node-b (process 4711) was ended by signal 11 (SIGSEGV, "
            "Segmentation fault) in backward of step 812, generation 2\n"
            "  data: datasets/digits.h5, from row 5120 on\n"
            "  last lines of its log:\n"
            "    one\n"
            "    two\n"
            "  next: starting generation 3 in 1.0 s from step 812 (memory) on 4 ranks; 1 of 5 "
            "restarts without progress used\n");
}

TEST(Verdict, TellsWhyTheRunEnds) {
  const std::string text =
      verdict(segfault(), {.generation = 9, .ends = Exit::budget, .why = "none are left"});
  EXPECT_NE(text.find("  next: the run ends with code 82: none are left\n"), std::string::npos);
}

TEST(Verdict, EscapesWhatRanksWrote) {
  Fault fault = segfault();
  fault.text = "bad \x1b[31m name\n\nsecond";
  fault.log_lines = {std::string(1000, 'x')};
  fault.host = "\x07";
  const std::string text = verdict(fault, {});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\x07'), std::string::npos);
  EXPECT_NE(text.find("  it said: bad \\x1b[31m name\n    second\n"), std::string::npos) << text;
  EXPECT_EQ(text.find(std::string(200, 'x')), std::string::npos);
}

TEST(Verdict, ShowsTheLastLinesOfALongLog) {
  Fault fault = segfault();
  fault.log_lines = {"1", "2", "3", "4", "5", "6", "7"};
  const std::string text = verdict(fault, {});
  EXPECT_EQ(text.find("    2\n"), std::string::npos);
  EXPECT_NE(text.find("    3\n    4\n    5\n    6\n    7\n"), std::string::npos);
}

TEST(Verdict, SaysThatAStoppedRankIsStopped) {
  Fault fault = segfault();
  fault.kind = FaultKind::hang;
  fault.signal.reset();
  fault.stopped = true;
  EXPECT_NE(verdict(fault, {}).find("rank 2 on node-b (process 4711) is stopped"),
            std::string::npos);
}

TEST(Verdict, NamesHostsThatAreGone) {
  const Fault fault{.kind = FaultKind::host_lost, .hosts = {"node-b", "node-c"}};
  EXPECT_EQ(culprit(fault), "hosts node-b, node-c");
}

}  // namespace
}  // namespace dlt::supervise

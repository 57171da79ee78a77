// SPDX-License-Identifier: Apache-2.0
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

Words words_of(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

TEST(Usage, HelpGoesToStdoutAndSucceeds) {
  for (const char* words : {"--help", "train --help", "data import --help"}) {
    const ProgramResult got = dltrain(words_of(words));
    EXPECT_EQ(got.exit_code, 0);
    EXPECT_NE(got.out.find("dltrain"), std::string::npos);
    EXPECT_EQ(got.err, "");
  }
}

TEST(Usage, VersionIsOneLine) {
  const ProgramResult got = dltrain({"--version"});
  EXPECT_EQ(got.exit_code, 0);
  EXPECT_TRUE(got.out.starts_with("dltrain 0.")) << got.out;
  EXPECT_EQ(count(got.out, "\n"), 1);
}

TEST(Usage, OnlyRankZeroPrintsTheVersion) {
  const ProgramResult got = dltrain_ranks(4, {"--version"});
  EXPECT_EQ(got.exit_code, 0);
  EXPECT_EQ(count(got.out, "dltrain 0."), 1) << got.out;
}

TEST(Usage, MistakesExitWith64AndAHint) {
  struct Case {
    const char* words;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{
           {"",
            "dltrain: error: expected a configuration file or a command, got nothing\n"
            "  hint: dltrain --help says more\n"},
           {"configs/quickstart.yaml --overwrit",
            "dltrain: error: unknown option '--overwrit'\n  hint: did you mean '--overwrite'?\n"},
           {"checkpoint varify x",
            "dltrain: error: checkpoint: expected one of diff, hash, list, verify, got 'varify'\n"
            "  hint: did you mean 'checkpoint verify'?\n"},
           {"check configs/quickstart.yaml --ranks -1",
            "dltrain: error: --ranks: expected an integer from 1 to 1048576, got '-1'\n"
            "  hint: dltrain check --help lists all options\n"}}) {
    for (const int ranks : {0, 4}) {
      const ProgramResult got = dltrain_on(ranks, words_of(c.words));
      EXPECT_EQ(got.exit_code, 64) << got.err;
      EXPECT_EQ(got.out, "");
      EXPECT_TRUE(got.err.starts_with(c.message)) << got.err;
      EXPECT_EQ(count(got.err, c.message), 1) << got.err;
    }
  }
}

TEST(Usage, InfoNamesWhatMatters) {
  const ProgramResult got = dltrain({"info"});
  EXPECT_EQ(got.exit_code, 0);
  for (const char* word : {"dltrain 0.", "cpu", "Open MPI", "CUDA-aware", "nccl ", "HDF5"}) {
    EXPECT_NE(got.out.find(word), std::string::npos) << word << "\n" << got.out;
  }
}

TEST(Usage, CheckPrintsTheModel) {
  const ProgramResult got = dltrain({"check", "configs/quickstart.yaml", "--ranks", "4"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  for (const char* word : {"dense_1", "[128]", "9,610", "460, 23 an epoch"}) {
    EXPECT_NE(got.out.find(word), std::string::npos) << word << "\n" << got.out;
  }
}

TEST(Usage, AFullDeviceIsAnError) {
  const ProgramResult got = run_program({"bash", "-c", DLTRAIN_PROGRAM " info >/dev/full"});
  EXPECT_EQ(got.exit_code, 74) << got.err;
  EXPECT_NE(got.err.find("stdout"), std::string::npos);
}

TEST(Usage, RanksThatContradictTheEnvironmentAreRefused) {
  const ProgramResult got = dltrain(
      {"--version"}, {.env = {{"OMPI_COMM_WORLD_RANK", "4"}, {"OMPI_COMM_WORLD_SIZE", "4"}}});
  EXPECT_EQ(got.exit_code, 69);
  EXPECT_NE(got.err.find("OMPI_COMM_WORLD_RANK: expected an integer from 0 to 3"),
            std::string::npos)
      << got.err;
}

}  // namespace
}  // namespace dlt::e2e

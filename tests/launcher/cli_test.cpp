// SPDX-License-Identifier: Apache-2.0
#include "launcher/cli.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "launcher/command.h"

namespace dlt::launcher {
namespace {

using Words = std::vector<std::string>;

std::string command_of(const Words& words) {
  const Invocation got = read_command_line(words);
  return got.command ? got.command->name() : "";
}

/// "what" or "what | hint" of the usage error.
std::string refusal_of(const Words& words) {
  try {
    (void)read_command_line(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    return std::string(error.what()) + " | " + error.hint();
  }
  return "taken";
}

TEST(Cli, TakesAConfigForTraining) {
  EXPECT_EQ(command_of({"a.yaml"}), "train");
  EXPECT_EQ(command_of({"train", "a.yaml"}), "train");
}

TEST(Cli, TakesOptionsBeforeAndBehindTheConfig) {
  EXPECT_EQ(command_of({"--set", "train.epochs=5", "a.yaml"}), "train");
  EXPECT_EQ(command_of({"a.yaml", "--set", "train.epochs=5", "--set=run.seed=2"}), "train");
  EXPECT_EQ(command_of({"train", "--set", "a=1", "--set", "b=2", "a.yaml", "--resume", "never"}),
            "train");
  EXPECT_EQ(command_of({"--overwrite", "a.yaml"}), "train");
}

TEST(Cli, FindsCommandsOfSeveralWords) {
  EXPECT_EQ(command_of({"checkpoint", "verify", "runs/x"}), "checkpoint verify");
  EXPECT_EQ(command_of({"data", "import", "npy", "--inputs", "x.npy", "--output", "x.h5"}),
            "data import npy");
}

TEST(Cli, TakesQuietEverywhere) {
  EXPECT_TRUE(read_command_line({"--quiet", "check", "a.yaml"}).quiet);
  EXPECT_TRUE(read_command_line({"check", "a.yaml", "--quiet"}).quiet);
  EXPECT_TRUE(read_command_line({"a.yaml", "-q"}).quiet);
  EXPECT_FALSE(read_command_line({"a.yaml"}).quiet);
}

TEST(Cli, PrintsHelpAndVersionAnywhere) {
  for (const Words& words : std::vector<Words>{{"--help"},
                                               {"-h"},
                                               {"--quiet", "--help"},
                                               {"train", "--help"},
                                               {"a.yaml", "--help"},
                                               {"checkpoint", "--help"},
                                               {"data", "import", "--help"},
                                               {"data", "import", "csv", "--help"},
                                               {"--version"},
                                               {"eval", "--version"}}) {
    const Invocation got = read_command_line(words);
    EXPECT_FALSE(got.command);
    EXPECT_FALSE(got.text.empty());
  }
  EXPECT_NE(read_command_line({"--version"}).text.find("dltrain 0."), std::string::npos);
}

TEST(Cli, NamesEveryCommandInItsHelp) {
  const std::string help = read_command_line({"--help"}).text;
  for (const auto& command : make_commands()) {
    EXPECT_NE(help.find("\n  " + command->name()), std::string::npos) << command->name();
  }
}

TEST(Cli, SuggestsTheNearestOption) {
  EXPECT_EQ(refusal_of({"a.yaml", "--overwrit"}),
            "unknown option '--overwrit' | did you mean '--overwrite'?");
  EXPECT_EQ(refusal_of({"eval", "a.yaml", "--chekpoint", "p"}),
            "unknown option '--chekpoint' | did you mean '--checkpoint'?");
  EXPECT_EQ(refusal_of({"a.yaml", "--frobnicate=3"}),
            "unknown option '--frobnicate' | dltrain train --help lists all options");
}

TEST(Cli, SuggestsTheNearestCommand) {
  EXPECT_EQ(
      refusal_of({"chekc", "a.yaml"}),
      "'chekc' is neither a command nor a file; commands: bench, check, checkpoint, data, diff, "
      "eval, export, generate, info, plan, predict, replay, train | did you mean 'check'?");
  EXPECT_EQ(refusal_of({"checkpoint", "lits", "p"}),
            "checkpoint: expected one of diff, hash, list, verify, got 'lits' | did you mean "
            "'checkpoint list'?");
  EXPECT_EQ(
      refusal_of({"checkpoint"}),
      "checkpoint: expected one of diff, hash, list, verify, got nothing | dltrain checkpoint "
      "--help says more");
  EXPECT_EQ(
      refusal_of({"data", "import"}),
      "data import: expected one of csv, idx, images, npy, text, wav, got nothing | dltrain data "
      "import --help "
      "says more");
}

TEST(Cli, RefusesNothingAndTooMuch) {
  EXPECT_EQ(refusal_of({}),
            "expected a configuration file or a command, got nothing | dltrain --help says more");
  EXPECT_EQ(refusal_of({"a.yaml", "b.yaml"}),
            "unexpected argument 'b.yaml' | dltrain train --help lists all options");
  EXPECT_EQ(refusal_of({"train"}), "CFG is required | dltrain train --help lists all options");
  EXPECT_EQ(refusal_of({"eval", "a.yaml"}),
            "--checkpoint is required | dltrain eval --help lists all options");
}

TEST(Cli, RefusesValuesOutOfRange) {
  EXPECT_EQ(refusal_of({"check", "a.yaml", "--ranks", "0"}),
            "--ranks: expected an integer from 1 to 1048576, got '0' | dltrain check --help lists "
            "all options");
  EXPECT_EQ(refusal_of({"check", "a.yaml", "--ranks", "two"}),
            "--ranks: expected an integer from 1 to 1048576, got 'two' | dltrain check --help "
            "lists all options");
  EXPECT_EQ(refusal_of({"eval", "a.yaml", "--checkpoint", "p", "--split", "tset"}),
            "--split: expected one of eval, train, got 'tset' | dltrain eval --help lists all "
            "options");
}

TEST(Cli, DoesNotPrintControlCharacters) {
  EXPECT_EQ(refusal_of({"a.yaml", "--x\x1b[2J"}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace dlt::launcher

// SPDX-License-Identifier: Apache-2.0
// Every kind of mistake in a config: exact message, exit code, once, on one rank and on four.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

struct Mistake {
  const char* name;
  const char* from;  // in digits_yaml()
  const char* to;
  const char* message;  // behind "FILE:"; more than one line: all of them, of several mistakes
};

// clang-format off
const std::vector<Mistake> kMistakes{
    {"UnknownKey", "learning_rate: 0.005", "learning_rte: 0.005",
     "17:3: error: optimizer.learning_rte: unknown key\n"
     "  17 |   learning_rte: 0.005\n"
     "     |   ^~~~~~~~~~~~\n"
     "  hint: did you mean 'learning_rate'?  legal: amsgrad, betas, eps, groups, learning_rate, name, "
     "weight_decay\n"},
    {"UnknownTopLevelKey", "metrics:", "metrisc:", "9:1: error: metrisc: unknown key\n"},
    {"UnknownChoice", "name: adam", "name: adma",
     "16:9: error: optimizer.name: expected one of adadelta, adagrad, adam, adamax, adamw, lamb, "
     "lars, lion, nadam, rmsprop, sgd, got 'adma'\n"
     "  16 |   name: adma\n"
     "     |         ^~~~\n"
     "  hint: did you mean 'adam'?\n"},
    {"DuplicateKey", "name: adam\n", "name: adam\n  name: sgd\n",
     "17:3: error: optimizer.name: duplicate key, the first is at FILE:16:3\n"},
    {"DuplicateTopLevelKey", "learning_rate: 0.005", "learning_rate: 0.005\ntrain: {epochs: 2}",
     "18:1: error: train: duplicate key, the first is at FILE:14:1\n"},
    {"IntegerTooSmall", "global_batch_size: 64", "global_batch_size: 0",
     "13:22: error: data.global_batch_size: expected an integer from 1 to 1048576, got '0'\n"},
    {"OctalLooking", "global_batch_size: 64", "global_batch_size: 010",
     "13:22: error: data.global_batch_size: expected an integer from 1 to 1048576, got '010'\n"
     "  13 |   global_batch_size: 010\n"
     "     |                      ^~~\n"
     "  hint: a leading zero looks octal; write 10\n"},
    {"YesForANumber", "global_batch_size: 64", "global_batch_size: yes",
     "13:22: error: data.global_batch_size: expected an integer from 1 to 1048576, got 'yes'\n"},
    {"QuotedNumber", "global_batch_size: 64", "global_batch_size: \"64\"",
     "13:22: error: data.global_batch_size: expected an integer from 1 to 1048576, got the text "
     "'64'\n"},
    {"NotANumber", "learning_rate: 0.005", "learning_rate: .nan",
     "17:18: error: optimizer.learning_rate: expected a number of at least 0, got '.nan'\n"},
    {"NumberOverflow", "learning_rate: 0.005", "learning_rate: 1e999",
     "17:18: error: optimizer.learning_rate: expected a number of at least 0, got '1e999'\n"},
    {"NegativeNumber", "learning_rate: 0.005", "learning_rate: -1",
     "17:18: error: optimizer.learning_rate: expected a number of at least 0, got '-1'\n"},
    {"FractionForAnInteger", "epochs: 1", "epochs: 1.5",
     "14:17: error: train.epochs: expected an integer from 1 to 1099511627776, got '1.5'\n"},
    {"IntegerOverflow", "seed: 1", "seed: 99999999999999999999",
     "error: run.seed: expected an integer of at least 0, got '99999999999999999999'\n"},
    {"MissingKey", "epochs: 1,", "",
     "14:1: error: train.epochs: expected an integer from 1 to 1099511627776, got nothing\n"},
    {"EpochsAndSteps", "epochs: 1,", "epochs: 1, steps: 3,",
     "14:27: error: train.steps: expected either train.epochs or train.steps, got both\n"},
    {"MoreLeavesThanSamples", "leaves: 4", "leaves: 65",
     "14:28: error: train.leaves: expected at most data.global_batch_size (64), got '65'\n"},
    {"UnknownLayer", "- dense: {units: 10}", "- desne: {units: 10}",
     "7:7: error: model.layers.2: expected a layer type, got 'desne'\n"
     "  7 |     - desne: {units: 10}\n"
     "    |       ^~~~~\n"
     "  hint: did you mean 'dense'?  legal: "},
    {"LayerWithoutItsSize", "- dense: {units: 10}", "- dense",
     "7:7: error: model.layers.2.dense.units: expected an integer from 1 to 2147483647, got "
     "nothing\n"},
    {"UnknownActivation", "activation: relu", "activation: rleu",
     "6:38: error: model.layers.1.dense.activation: expected one of "},
    {"ImpossibleShape", "    - flatten\n", "",
     "5:7: error: model.layers.0: expected a flat input [n] or sequences [T, n] from the model's "
     "input for 'dense_1', got [8, 8, 1]\n"
     "  5 |     - dense: {units: 16, activation: relu}\n"
     "    |       ^~~~~\n"
     "  hint: put the layer 'flatten' before it\n"},
    {"NegativeSize", "input: [8, 8, 1]", "input: [8, -8, 1]",
     "3:14: error: model.input.1: expected an integer from 1 to 2147483648, got '-8'\n"},
    {"NoSizes", "input: [8, 8, 1]", "input: []", "3:10: error: model.input: expected 1 to 7 sizes"},
    {"UnknownLoss", "loss: cross_entropy", "loss: crossentropy",
     "8:7: error: loss: expected a loss, got 'crossentropy'\n"},
    {"UnknownMetric", "metrics: [accuracy]", "metrics: [acuracy]",
     "9:11: error: metrics.0: expected the name of a metric, got 'acuracy'\n"},
    {"UnknownSchedule", "learning_rate: 0.005", "learning_rate: 0.005\nschedule: {name: cosin}",
     "18:18: error: schedule.name: expected one of constant, cosine, cosine_restarts, exponential, "
     "inverse_sqrt, linear, multi_step, one_cycle, polynomial, reduce_on_plateau, step, "
     "warmup_stable_decay, got 'cosin'\n"},
    {"ListForAMap", "data:\n", "data: [1]\nx:\n", "error: data: expected a map"},
    {"OpenBracket", "run: {name: t", "run: {name: [t", "1:"},
    {"Alias", "run: {name: t", "run: {name: *t", "1:13: error: aliases are not allowed\n"},
    {"Anchor", "run: {name: t", "run: {name: &t t",
     "1:13: error: run.name: anchors are not allowed, got '&t'\n"},
    {"Tag", "run: {name: t", "run: {name: !!python t",
     "1:13: error: run.name: tags are not allowed, got '!!python'\n"},
    {"ControlCharacter", "run: {name: t", "run: {name: \"a\\e[2Jb\"",
     "1:13: error: run.name: control characters are not allowed, got 'a\\x1b[2Jb'\n"},
    {"SecondDocument", "learning_rate: 0.005", "learning_rate: 0.005\n---\na: 1",
     "18:1: error: a second document starts here, expected one\n"},
    {"EmptyRunFolder", "dir: RUN_DIR", "dir: \"\"",
     "1:21: error: run.dir: expected a folder name, got ''\n"},
    {"SeveralAtOnce", "train: {epochs: 1", "train: {epochs: 0, precison: f32",
     "14:17: error: train.epochs: expected an integer from 1 to 1099511627776, got '0'\n"
     "  14 | train: {epochs: 0, precison: f32, leaves: 4}\n"
     "     |                 ^\n"
     "FILE:14:20: error: train.precison: unknown key\n"
     "  14 | train: {epochs: 0, precison: f32, leaves: 4}\n"
     "     |                    ^~~~~~~~\n"},
};
// clang-format on

class ConfigFile : public testing::Test {
 protected:
  /// Refused alike alone and on four ranks: the text comes first and once, nothing is written.
  void expect_refused(const std::string& text, const std::string& message) {
    const std::string path = folder_ / "c.yaml";
    test::write_file(path, replaced_run_dir(text));
    std::string expected = message;
    while (expected.find("FILE") != std::string::npos)
      expected = replaced(std::move(expected), "FILE", path);
    for (const int ranks : {0, 4}) {
      const ProgramResult got = dltrain_on(ranks, {path}, {.timeout_s = 30});
      EXPECT_FALSE(got.timed_out);
      EXPECT_EQ(got.exit_code, 78) << got.err;
      EXPECT_EQ(got.out, "");
      EXPECT_TRUE(got.err.starts_with(path + ":")) << got.err;
      EXPECT_EQ(count(got.err, expected), 1) << expected << "\n" << got.err;
      EXPECT_EQ(got.err.find("rank 1"), std::string::npos) << got.err;
      EXPECT_FALSE(exists(folder_ / "run"));
    }
  }

 private:
  std::string replaced_run_dir(const std::string& text) const {
    return text.find("RUN_DIR") == std::string::npos ? text
                                                     : replaced(text, "RUN_DIR", folder_ / "run");
  }

 protected:
  test::TempFolder folder_;
};

class ConfigMistake : public ConfigFile, public testing::WithParamInterface<Mistake> {};

TEST_P(ConfigMistake, IsExplainedOnceOnOneAndOnFourRanks) {
  const Mistake& mistake = GetParam();
  expect_refused(replaced(digits_yaml(), mistake.from, mistake.to), mistake.message);
}

INSTANTIATE_TEST_SUITE_P(E2e, ConfigMistake, testing::ValuesIn(kMistakes),
                         [](const auto& mistake) { return mistake.param.name; });

TEST_F(ConfigFile, DepthBombsAreRefused) {
  expect_refused(std::string(5000, '[') + std::string(5000, ']'),
                 "FILE:1:65: error: lists and maps are nested deeper than 64\n");
}

TEST_F(ConfigFile, AliasBombsAreRefused) {
  expect_refused("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "FILE:1:4: error: a: anchors are");
}

TEST_F(ConfigFile, AnEmptyFileIsRefused) {
  expect_refused("", "FILE:1:1: error: expected a map of keys and values, got an empty file\n");
}

TEST_F(ConfigFile, AMissingFileIs66) {
  for (const int ranks : {0, 4}) {
    const ProgramResult got = dltrain_on(ranks, {"nowhere/c.yaml"});
    EXPECT_EQ(got.exit_code, 66) << got.err;
    EXPECT_TRUE(got.err.starts_with("dltrain: error: nowhere/c.yaml: no such file\n")) << got.err;
    EXPECT_EQ(count(got.err, "no such file"), 1) << got.err;
  }
}

TEST_F(ConfigFile, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  const std::string fifo = folder_ / "fifo.yaml";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, folder_.path() + "/.", std::string("/dev/zero")}) {
    const ProgramResult got = dltrain({path}, {.timeout_s = 20});
    EXPECT_FALSE(got.timed_out) << path;
    EXPECT_EQ(got.exit_code, 78) << got.err;
    EXPECT_NE(got.err.find("regular file"), std::string::npos) << got.err;
  }
}

TEST_F(ConfigFile, MoreThanOneMebibyteIsRefused) {
  const std::string path = folder_ / "large.yaml";
  test::write_file(path, "#" + std::string(1 << 20, 'x'));
  const ProgramResult got = dltrain({path});
  EXPECT_EQ(got.exit_code, 78) << got.err;
  EXPECT_EQ(count(got.err, "error: "), 1) << got.err;
}

TEST_F(ConfigFile, MistakesOfSetHaveTheirPlace) {
  const std::string path = folder_ / "c.yaml";
  test::write_file(path, replaced(digits_yaml(), "RUN_DIR", folder_ / "run"));
  struct Case {
    std::string set, message;
  };
  for (const Case& c : std::vector<Case>{
           {"trian.epochs=3",
            "--set:1:1: error: trian: unknown key\n  hint: did you mean 'train'?"},
           {"train.epochs=0",
            "--set:1:14: error: train.epochs: expected an integer from 1 to 1099511627776, got "
            "'0'\n"},
           {"train.epochs", "--set:1:"}}) {
    const ProgramResult got = dltrain({path, "--set", c.set});
    EXPECT_EQ(got.exit_code, 78) << got.err;
    EXPECT_TRUE(got.err.starts_with(c.message)) << got.err;
  }
}

/// Three ranks; the last one is started otherwise than the others.
ProgramResult with_odd_rank(const Words& words, const Words& odd) {
  Words all{DLTRAIN_MPIEXEC, "--oversubscribe", "--bind-to", "none", "-n", "2"};
  all.insert(all.end(), words.begin(), words.end());
  all.insert(all.end(), {":", "-n", "1"});
  all.insert(all.end(), odd.begin(), odd.end());
  return run_program(all, {.timeout_s = 30});
}

TEST_F(ConfigFile, RankWithOtherSettingsIsNamedOnce) {
  const std::string path = folder_ / "c.yaml";
  test::write_file(path, replaced(digits_yaml(), "RUN_DIR", folder_ / "run"));
  for (const char* set : {"optimizer.learning_rate=0.5", "train.leaves=8", "run.seed=9"}) {
    const ProgramResult got =
        with_odd_rank({DLTRAIN_PROGRAM, path}, {DLTRAIN_PROGRAM, path, "--set", set});
    EXPECT_EQ(got.exit_code, 78) << got.err;
    EXPECT_EQ(count(got.err, "dltrain: error: "), 1) << got.err;
    EXPECT_EQ(count(got.err, "dltrain: error: rank 2 ("), 1) << got.err;
    EXPECT_EQ(count(got.err, "differs from the other ranks in "), 1) << got.err;
    EXPECT_FALSE(exists(folder_ / "run"));
  }
}

TEST_F(ConfigFile, RankWithAnotherBinaryIsNamedOnce) {
  const std::string path = folder_ / "c.yaml";
  test::write_file(path, replaced(digits_yaml(), "RUN_DIR", folder_ / "run"));
  const std::string other = folder_ / "dltrain";
  std::ifstream in(DLTRAIN_PROGRAM, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  // The ELF note of the build id: sizes of name and id, type, name, id.
  const std::size_t note = bytes.find(std::string("\4\0\0\0\24\0\0\0\3\0\0\0GNU\0", 16));
  ASSERT_NE(note, std::string::npos);
  bytes[note + 16] = static_cast<char>(~bytes[note + 16]);
  test::write_file(other, bytes);
  std::filesystem::permissions(other, std::filesystem::perms::owner_all);
  const ProgramResult got = with_odd_rank({DLTRAIN_PROGRAM, path}, {other, path});
  EXPECT_EQ(got.exit_code, 78) << got.err;
  EXPECT_EQ(count(got.err, "dltrain: error: rank 2 ("), 1) << got.err;
  EXPECT_EQ(count(got.err, "differs from the other ranks in program"), 1) << got.err;
}

TEST_F(ConfigFile, MoreRanksThanLeavesAreRefused) {
  const std::string path = folder_ / "c.yaml";
  test::write_file(path, replaced(replaced(digits_yaml(), "RUN_DIR", folder_ / "run"), "leaves: 4",
                                  "leaves: 2"));
  const ProgramResult got = dltrain_ranks(3, {path}, {.timeout_s = 30});
  EXPECT_EQ(got.exit_code, 78) << got.err;
  EXPECT_EQ(count(got.err,
                  "dltrain: error: train.leaves: expected at least one leaf for each of "
                  "the 3 ranks, got 2\n"),
            1)
      << got.err;
}

}  // namespace
}  // namespace dlt::e2e

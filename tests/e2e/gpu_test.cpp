// SPDX-License-Identifier: Apache-2.0
// Whole programs on a machine of emulated GPUs (tests/cuda_emulator), one a rank.
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Gpus : public testing::Test {
 protected:
  Gpus() { write(digits_yaml()); }
  void write(std::string yaml) {
    test::write_file(config_, replaced(std::move(yaml), "RUN_DIR", run_));
  }
  [[nodiscard]] static ProgramOptions on_gpus(int count = 4) {
    return {.env = {{"LD_LIBRARY_PATH", DLTRAIN_EMULATED},
                    {"DLT_EMULATOR_DEVICES", std::to_string(count)}}};
  }
  test::TempFolder folder_{std::vector{testing::TempDir()}};
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml";
};

TEST_F(Gpus, GiveTheSameBitsOnAnyRanks) {
  std::string one;
  for (const int ranks : {1, 2, 4}) {
    const ProgramResult got =
        dltrain_ranks(ranks, {config_, "--overwrite", "--set", "train.device=cuda"}, on_gpus());
    ASSERT_EQ(got.exit_code, 0) << got.err;
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_THAT(got.err,
                  HasSubstr("rank " + std::to_string(rank) + ": GPU " + std::to_string(rank)));
    }
    EXPECT_EQ(count(got.err, "between GPUs: NCCL"), ranks > 1 ? 1 : 0);
    if (one.empty()) one = summary_hash(run_);
    EXPECT_EQ(summary_hash(run_), one) << ranks;
  }
}

TEST_F(Gpus, AreLeftOutWhereThereAreNone) {
  const Words words{config_, "--overwrite", "--quiet"};
  EXPECT_EQ(dltrain(words, on_gpus(0)).exit_code, 0);
  Words demanding = words;
  demanding.insert(demanding.end(), {"--set", "train.device=cuda"});
  const ProgramResult none = dltrain(demanding, on_gpus(0));
  EXPECT_EQ(none.exit_code, 69);
  EXPECT_THAT(none.err, HasSubstr("train.device: expected a GPU for 'cuda', got none: "));
  EXPECT_EQ(count(none.err, "dltrain: error: "), 1) << none.err;
}

TEST_F(Gpus, ARankThatStopsIsNoticed) {
  write(replaced(digits_yaml(), "epochs: 1", "epochs: 400") + "fault: {hang_timeout_s: 1}\n");
  ProgramOptions options = on_gpus();
  options.signal = SIGSTOP;
  options.signal_after = "step 40";
  options.signal_child = true;
  const ProgramResult got = dltrain_ranks(2, {config_, "--overwrite"}, options);
  EXPECT_EQ(got.exit_code, 81) << got.err;
  EXPECT_THAT(got.err, HasSubstr("waited 1 s for"));
}

TEST_F(Gpus, GoOnUnderDlrunWhenARankIsKilled) {
  write(replaced(digits_yaml(), "epochs: 1", "epochs: 12") +
        "checkpoint: {every_steps: 100}\nfault: {backoff_s: 0.1}\n");
  ASSERT_EQ(dltrain_ranks(2, {config_, "--overwrite", "--quiet"}, on_gpus()).exit_code, 0);
  const std::string expected = summary_hash(run_);
  fs::remove_all(run_);
  std::jthread trouble([this] {
    wait_for_step(run_, 150);
    for (const auto& [pid, name] : processes_with(config_)) {
      if (name == "dltrain") {
        ::kill(pid, SIGKILL);
        return;
      }
    }
  });
  const ProgramResult got = run_program({DLTRAIN_EMULATED "/dlrun", "-n", "2", config_}, on_gpus());
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "restarts"), "1");
  EXPECT_EQ(summary_hash(run_), expected);
}

}  // namespace
}  // namespace dlt::e2e

// SPDX-License-Identifier: Apache-2.0
// One process makes any step of a run of several ranks again.
#include "train/replay.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "ops/ops.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

constexpr std::int64_t kReplayRows = 47;

train::ReplayResult replay(const train::ReplayOptions& options) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  SystemFs fs;
  SystemClock clock;
  train::ReplayJob job({.table = table,
                        .backend = *backend,
                        .fs = fs,
                        .clock = clock,
                        .host = "here",
                        .program_version = "test",
                        .program_hash = "0"},
                       options);
  return job.run();
}

Exit exit_of(const train::ReplayOptions& options) {
  try {
    (void)replay(options);
  } catch (const Error& error) {
    return error.exit();
  }
  return Exit::ok;
}

bool has(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

TEST(Replay, MakesAnyStepOfARunOfSeveralRanksAgain) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  const std::vector<std::vector<std::string>> jobs{
      {"log.hashes=true", "checkpoint.keep=9"},
      {"log.hashes=true", "checkpoint.every_steps=0", "train.ema={decay: 0.5}"},
      {"log.hashes=true", "checkpoint.every_steps=5", "checkpoint.keep=9",
       "schedule={name: reduce_on_plateau, patience: 0, threshold: 0.9}"},
      {"log.hashes=true", "train.shard=optimizer", "checkpoint.keep=9"},
      {"log.hashes=true", "checkpoint.keep=9",
       "model.layers=[{dense: {units: 9}}, {batch_norm: {sync: true}}, {dense: {units: 3}}]"}};
  for (const auto& overrides : jobs) {
    (void)run_job(files, {.ranks = 3, .overrides = overrides, .resume = {.overwrite = true}});
    for (const std::int64_t step : {1, 4, 7, 13, 15}) {
      const train::ReplayResult got = replay({.run = files.run_dir, .step = step});
      EXPECT_TRUE(got.equal) << overrides[1] << " step " << step << "\n" << got.text;
      EXPECT_TRUE(has(got.text, "as the run's in ")) << got.text;
      EXPECT_TRUE(has(got.text, "leaf 5")) << got.text;
    }
  }
}

TEST(Replay, BeginsAtTheNewestCheckpointBefore) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  (void)run_job(files, {.ranks = 2, .overrides = {"checkpoint.keep=9"}});
  EXPECT_TRUE(has(replay({.run = files.run_dir, .step = 9}).text,
                  "replayed 1 step, 9 to 9, from the checkpoint of step 8"));
  EXPECT_TRUE(has(replay({.run = files.run_dir, .step = 8}).text,
                  "replayed 4 steps, 5 to 8, from the checkpoint of step 4"));
  EXPECT_TRUE(has(replay({.run = files.run_dir, .step = 2}).text, "from the start"));
}

TEST(Replay, FindsAStepThatDiffersFromTheRun) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  (void)run_job(files, {.ranks = 2, .overrides = {"log.hashes=true", "data.shuffle=false"}});
  // The file behind the run changes: row 12 belongs to step 2.
  const JobFiles again =
      write_small_job(folder, kReplayRows,
                      [](std::vector<float>& x, std::vector<std::int32_t>&) { x[12 * 6] += 1.0F; });
  const train::ReplayResult got = replay({.run = again.run_dir, .step = 4});
  EXPECT_FALSE(got.equal);
  EXPECT_TRUE(has(got.text, "other than the run's: step 2: samples")) << got.text;
}

TEST(Replay, DumpsTheTensorsOfAStep) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  (void)run_job(files, {.ranks = 3, .overrides = {"checkpoint.keep=9"}});
  const std::string dump = folder / "step.safetensors";
  const train::ReplayResult got =
      replay({.run = files.run_dir, .step = 8, .dump = dump, .leaf = 2});
  const std::string bytes = read_file(dump);
  const auto state =
      checkpoint::decode(dump, std::as_bytes(std::span(bytes.data(), bytes.size()))).state;
  const checkpoint::Checkpoint after =
      checkpoint::load(files.run_dir + "/checkpoints/step-000000008");
  const auto same = [&](const std::string& name, const tensor::Tensor& want) {
    const auto found = state.find(name);
    ASSERT_NE(found, state.end()) << name;
    EXPECT_TRUE(std::ranges::equal(found->second.byte_span(), want.byte_span())) << name;
  };
  for (const auto& [name, value] : after.model) same("after." + name, value);
  EXPECT_TRUE(state.contains("before.dense_1.weight"));
  EXPECT_TRUE(state.contains("gradient.dense_2.bias"));
  EXPECT_EQ(state.at("leaf.loss").shape().numel(), 6);
  EXPECT_TRUE(std::any_of(state.begin(), state.end(), [](const auto& one) {
    return one.first.starts_with("activation.") && has(one.first, "dense_1");
  }));
  // The output layer's bias: its gradient is the sum over leaves of what came in.
  double total = 0;
  for (const double weight : state.at("leaf.weight").as<double>()) total += weight;
  EXPECT_EQ(total, 10);
}

JobFiles write_huge_rows_job(const TempFolder& folder) {
  return write_small_job(folder, kReplayRows,
                         [](std::vector<float>& x, std::vector<std::int32_t>&) {
                           for (std::size_t j = 0; j < 6; ++j)
                             x[20 * 6 + j] = j % 2 == 0 ? 3e38F : -3e38F;
                         });
}

constexpr const char* kReluModel =
    "model.layers=[{dense: {units: 9, activation: relu}}, {dense: {units: 3}}]";

TEST(Replay, UntilNanNamesLayerLeafAndRows) {
  const TempFolder folder;
  const JobFiles files = write_huge_rows_job(folder);
  EXPECT_THROW((void)run_job(files, {.ranks = 3, .overrides = {kReluModel}}), Error);
  const train::ReplayResult got = replay({.run = files.run_dir, .step = 1, .until_nan = true});
  EXPECT_TRUE(has(got.text, "the loss is ")) << got.text;
  EXPECT_TRUE(has(got.text, "layer 'dense_1'")) << got.text;
  EXPECT_TRUE(has(got.text, "20")) << got.text;
}

TEST(Replay, ASkippedStepIsMadeIfItIsAskedFor) {
  const TempFolder folder;
  const JobFiles files = write_huge_rows_job(folder);
  for (const char* policy : {"rollback", "skip"}) {
    (void)run_job(files, {.ranks = 2,
                          .overrides = {kReluModel, cat("numerics.on_nonfinite=", policy),
                                        "log.hashes=true", "data.shuffle=false"},
                          .resume = {.overwrite = true}});
    // Row 20 is in step 3, and comes again in each epoch.
    const train::ReplayResult bad = replay({.run = files.run_dir, .step = 3});
    EXPECT_TRUE(has(bad.text, "step 3: the loss is ")) << policy << bad.text;
    const train::ReplayResult good = replay({.run = files.run_dir, .step = 7});
    EXPECT_TRUE(good.equal && has(good.text, "as the run's in ")) << policy << good.text;
  }
}

TEST(Replay, UntilNanSaysThatThereIsNone) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  (void)run_job(files, {.ranks = 2});
  const train::ReplayResult got = replay({.run = files.run_dir, .step = 9, .until_nan = true});
  EXPECT_TRUE(has(got.text, "none up to step 15")) << got.text;
}

TEST(Replay, RefusesWhatItCannotMakeAgain) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kReplayRows);
  EXPECT_EQ(exit_of({.run = folder / "nothing"}), Exit::missing);
  (void)run_job(files, {.ranks = 2, .overrides = {"comm.sync_every=2"}});
  EXPECT_EQ(exit_of({.run = files.run_dir}), Exit::config);
  (void)run_job(files, {.ranks = 2, .resume = {.overwrite = true}});
  EXPECT_EQ(exit_of({.run = files.run_dir, .step = 16}), Exit::config);
  EXPECT_EQ(exit_of({.run = files.run_dir, .leaf = 6}), Exit::config);
}

}  // namespace
}  // namespace dlt::train_test

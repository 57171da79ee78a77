// SPDX-License-Identifier: Apache-2.0
// hashes.jsonl: the same on any ranks and over interruptions, and what tells two runs apart.
#include "train/hash_chain.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using train::HashChain;
using train::HashLog;
using train::StepHashes;

constexpr std::int64_t kRows = 47;

std::string hashes_of(const JobFiles& files, JobRun run) {
  run.overrides.emplace_back("log.hashes=true");
  (void)run_job(files, run);
  return read_file(files.run_dir + "/hashes.jsonl");
}

/// Hashes of a job whose rows were changed.
HashLog log_of(const EditRows& edit, std::vector<std::string> overrides = {}) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows, edit);
  (void)hashes_of(files, {.overrides = std::move(overrides)});
  return train::read_hash_log(files.run_dir);
}

StepHashes made_up(std::int64_t step) {
  const auto n = static_cast<std::uint64_t>(step);
  return {.step = step,
          .samples = 10 + n,
          .loss = 20 + n,
          .gradients = {30 + n, 40 + n},
          .parameters = 50 + n};
}

const std::vector<std::string> kNames{"w", "b"};

std::string write_log(const std::string& path, std::int64_t steps) {
  HashChain chain(path, kNames, 0);
  for (std::int64_t step = 1; step <= steps; ++step) EXPECT_TRUE(chain.append(made_up(step)));
  return path;
}

TEST(HashChain, IsTheSameOnAnyRanksThreadsAndBuckets) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  const std::string reference = hashes_of(files, {});
  EXPECT_EQ(std::count(reference.begin(), reference.end(), '\n'), 1 + 15);
  for (const int ranks : {2, 3, 4}) {
    const JobRun run{.ranks = ranks,
                     .overrides = {"comm.bucket_mb=0.0001", "train.threads=2"},
                     .resume = {.overwrite = true}};
    EXPECT_EQ(hashes_of(files, run), reference) << ranks << " ranks";
  }
}

TEST(HashChain, GoesOnOverAnInterruption) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  const std::string reference = hashes_of(files, {});
  for (const std::int64_t stop : {1, 6, 14}) {
    (void)hashes_of(files, {.ranks = 2, .resume = {.overwrite = true}, .interrupt_at_step = stop});
    EXPECT_EQ(hashes_of(files, {.ranks = 3}), reference) << "stopped at " << stop;
  }
}

TEST(HashChain, LinesBehindTheResumedStepAreCutOff) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  const std::string reference = hashes_of(files, {});
  // As if killed at step 15, with a line cut short, after the checkpoint of step 12.
  std::filesystem::remove_all(files.run_dir + "/checkpoints/step-000000015");
  std::filesystem::remove(files.run_dir + "/summary.json");
  std::ofstream(files.run_dir + "/hashes.jsonl", std::ios::app) << "{\"step\": 16, \"samp";
  EXPECT_EQ(hashes_of(files, {.ranks = 2}), reference);
}

TEST(HashChain, ShardsAndLocalStepsLogWhatRanksShare) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  (void)hashes_of(files, {});
  const HashLog whole = train::read_hash_log(files.run_dir);
  (void)hashes_of(
      files, {.ranks = 2, .overrides = {"train.shard=optimizer"}, .resume = {.overwrite = true}});
  const HashLog shards = train::read_hash_log(files.run_dir);
  EXPECT_TRUE(shards.steps.at(3).gradients.empty());
  const train::RunDifference same = train::compare(whole, shards);
  EXPECT_EQ(same.step, -1) << same.stage;
  EXPECT_EQ(same.compared, 15);
  (void)hashes_of(files,
                  {.ranks = 2, .overrides = {"comm.sync_every=2"}, .resume = {.overwrite = true}});
  const HashLog local = train::read_hash_log(files.run_dir);
  EXPECT_FALSE(local.steps.at(1).parameters.has_value());
  EXPECT_TRUE(local.steps.at(2).parameters.has_value());
}

TEST(HashChain, SkippedStepsSaySo) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  (void)hashes_of(files, {.ranks = 2, .skip_steps = {6}});
  const HashLog log = train::read_hash_log(files.run_dir);
  EXPECT_EQ(log.steps.at(7).skipped, "listed");
  EXPECT_EQ(log.steps.at(7).parameters, log.steps.at(6).parameters);
  EXPECT_EQ(log.steps.at(8).skipped, "");
}

TEST(HashChain, RollbackRewindsTheFile) {
  const TempFolder folder;
  const JobFiles files =
      write_small_job(folder, kRows, [](std::vector<float>& x, std::vector<std::int32_t>&) {
        for (std::size_t j = 0; j < 6; ++j) x[20 * 6 + j] = j % 2 == 0 ? 3e38F : -3e38F;
      });
  const std::vector<std::string> overrides{
      "model.layers=[{dense: {units: 9, activation: relu}}, {dense: {units: 3}}]",
      "numerics.on_nonfinite=rollback"};
  const std::string one = hashes_of(files, {.overrides = overrides});
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 1 + 15);
  EXPECT_NE(one.find("\"skipped\": \"listed\""), std::string::npos);
  EXPECT_EQ(hashes_of(files, {.ranks = 3, .overrides = overrides, .resume = {.overwrite = true}}),
            one);
}

TEST(HashChain, RewindFindsItsPlaceInALongFile) {
  const TempFolder folder;
  const std::string path = write_log(folder / "hashes.jsonl", 30000);  // over 4 MB
  ASSERT_GT(std::filesystem::file_size(path), 4U << 20);
  for (const std::int64_t step : {29999, 20000, 17, 0}) {
    HashChain(path, kNames, step);
    const HashLog log = train::read_hash_log(path);
    EXPECT_EQ(log.steps.size(), static_cast<std::size_t>(step));
    if (step > 0) {
      EXPECT_EQ(log.steps.rbegin()->first, step);
    }
  }
}

TEST(HashLog, FindsAChangedByte) {
  const TempFolder folder;
  const std::string path = write_log(folder / "hashes.jsonl", 3);
  const std::string good = read_file(path);
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    std::ofstream(path, std::ios::binary) << bad;
    try {
      (void)train::read_hash_log(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::data);
      ++refused;
      continue;
    }
    // All that goes unnoticed is the end of the last line, as if it had been cut short.
    EXPECT_EQ(at, good.size() - 1);
  }
  EXPECT_EQ(refused, static_cast<int>(good.size()) - 1);
}

TEST(HashLog, RefusesWhatIsNoLog) {
  const TempFolder folder;
  const std::string path = folder / "hashes.jsonl";
  EXPECT_THROW((void)train::read_hash_log(path), Error);
  for (const char* text : {"", "[]\n", "{\"hashes\": 2, \"parameters\": []}\n", "{\"hashes\": 1}\n",
                           "{\"hashes\": 1, \"parameters\": 3}\n", "\xff\n"}) {
    std::ofstream(path, std::ios::binary) << text;
    EXPECT_THROW((void)train::read_hash_log(path), Error) << text;
  }
}

TEST(HashLog, NamesTheFirstStageThatDiffers) {
  const StepHashes a = made_up(4);
  const auto difference = [&](const StepHashes& b) {
    return train::first_difference(kNames, a, kNames, b);
  };
  EXPECT_EQ(difference(a), "");
  StepHashes b = a;
  b.parameters = 1;
  EXPECT_EQ(difference(b), "parameters");
  b.gradients[1] = 1;
  EXPECT_EQ(difference(b), "gradient of 'b'");
  b.gradients[0] = 1;
  EXPECT_EQ(difference(b), "gradient of 'w'");
  b.loss = 1;
  EXPECT_EQ(difference(b), "loss");
  b.samples = 1;
  EXPECT_EQ(difference(b), "samples");
  b.skipped = "listed";
  EXPECT_EQ(difference(b), "the update was left out");
  EXPECT_EQ(train::first_difference(kNames, a, {"b", "w"}, a), "gradient of 'w'");
}

TEST(RunDifference, OneBitOfASampleIsFoundInItsStep) {
  const HashLog plain = log_of({});
  const HashLog changed = log_of(
      [](std::vector<float>& x, std::vector<std::int32_t>&) {
        x[33 * 6 + 1] = std::nextafter(x[33 * 6 + 1], 10.0F);
      },
      {});
  const train::RunDifference found = train::compare(plain, changed);
  EXPECT_EQ(found.stage, "samples");
  EXPECT_GE(found.step, 1);
  EXPECT_LE(found.step, 5);  // each row comes once an epoch
}

TEST(RunDifference, AnotherSeedOfDropoutIsALoss) {
  const HashLog a = log_of({}, {"data.shuffle=false"});
  const HashLog b = log_of({}, {"data.shuffle=false",
                                "model.layers=[{dense: {units: 9, activation: tanh}}, {dropout: "
                                "{rate: 0.26}}, {dense: {units: 3}}]"});
  const train::RunDifference found = train::compare(a, b);
  EXPECT_EQ(found.step, 1);
  EXPECT_EQ(found.stage, "loss");
}

TEST(RunDifference, AnotherRateIsAParameter) {
  const HashLog a = log_of({});
  const HashLog b = log_of({}, {"optimizer.learning_rate=0.0200001"});
  const train::RunDifference found = train::compare(a, b);
  EXPECT_EQ(found.step, 1);
  EXPECT_EQ(found.stage, "parameters");
}

/// A weight changes behind a checkpoint: the step after it has another loss, or at least
/// another gradient.
TEST(RunDifference, AWeightIsFoundInTheNextStep) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kRows);
  (void)hashes_of(files, {});
  const HashLog plain = train::read_hash_log(files.run_dir);
  (void)hashes_of(files, {.resume = {.overwrite = true}, .interrupt_at_step = 8});
  SystemFs fs;
  checkpoint::Checkpoint state = checkpoint::load_any(files.run_dir);
  float& weight = state.model.at("dense_1.weight").as<float>()[7];
  weight += 1e-3F;
  checkpoint::Store(fs, files.run_dir + "/checkpoints", 2).clear();
  (void)checkpoint::Store(fs, files.run_dir + "/checkpoints", 2).commit(state);
  (void)hashes_of(files, {.ranks = 2});
  const train::RunDifference found = train::compare(plain, train::read_hash_log(files.run_dir));
  EXPECT_EQ(found.step, 9);
  EXPECT_TRUE(found.stage == "loss" || found.stage.starts_with("gradient of ")) << found.stage;
}

TEST(RunDifference, CountsWhatOneHasMore) {
  const TempFolder folder;
  const HashLog a = train::read_hash_log(write_log(folder / "a.jsonl", 5));
  const HashLog b = train::read_hash_log(write_log(folder / "b.jsonl", 3));
  const train::RunDifference found = train::compare(a, b);
  EXPECT_EQ(found.step, -1);
  EXPECT_EQ(found.compared, 3);
  EXPECT_EQ(found.only_a, 2);
  EXPECT_EQ(found.only_b, 0);
  const HashLog none = train::read_hash_log(write_log(folder / "c.jsonl", 0));
  EXPECT_THROW((void)train::compare(a, none), Error);
}

}  // namespace
}  // namespace dlt::train_test

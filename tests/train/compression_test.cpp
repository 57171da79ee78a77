// SPDX-License-Identifier: Apache-2.0
// Whole runs with compressed gradients.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

const std::vector<std::string>& kinds() {
  static const std::vector<std::string> all{"bf16", "fp16", "{name: int8, block: 64}",
                                            "{name: powersgd, rank: 2}",
                                            "{name: topk, share: 0.1}"};
  return all;
}

/// A network with parameters that are large enough to be compressed, and with running statistics.
std::vector<std::string> overrides(const std::string& kind) {
  return {
      "model.layers=[{dense: {units: 200, activation: tanh}}, batch_norm, {dense: {units: 64}}, "
      "{dense: {units: 3}}]",
      cat("comm.compression=", kind)};
}

train::RunSummary run(const JobFiles& files, const std::string& kind, JobRun how) {
  how.overrides = overrides(kind);
  return run_job(files, how);
}

TEST(CompressedRun, GivesTheSameBitsAgainAtTheSameRankCount) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string plain = run(files, "none", {.ranks = 2}).weights_hash;
  for (const std::string& kind : kinds()) {
    for (const int ranks : {2, 3}) {
      const JobRun how{.ranks = ranks, .resume = {.overwrite = true}};
      const std::string first = run(files, kind, how).weights_hash;
      EXPECT_NE(first, plain) << kind;
      EXPECT_EQ(run(files, kind, how).weights_hash, first) << kind << " on " << ranks << " ranks";
    }
    // On one rank nothing crosses.
    EXPECT_EQ(run(files, kind, {.resume = {.overwrite = true}}).weights_hash, plain) << kind;
  }
}

TEST(CompressedRun, ResumedEqualsUndisturbedAtTheSameRankCount) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const std::string& kind : kinds()) {
    const JobRun anew{.ranks = 3, .resume = {.overwrite = true}};
    const std::string whole = run(files, kind, anew).weights_hash;
    for (const std::int64_t stop : {1, 7}) {
      JobRun part = anew;
      part.interrupt_at_step = stop;
      (void)run(files, kind, part);
      EXPECT_EQ(run(files, kind, {.ranks = 3}).weights_hash, whole)
          << kind << " stopped at step " << stop;
    }
  }
}

TEST(CompressedRun, WhatIsOwedIsInTheCheckpointAndSurvivesAnotherRankCount) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string kind = "{name: powersgd, rank: 2}";
  (void)run(files, kind, {.ranks = 3, .interrupt_at_step = 7});
  const checkpoint::Checkpoint before = checkpoint::load_any(files.run_dir);
  std::vector<float> owed(200 * 64, 0.0F);
  for (const int rank : {0, 1, 2}) {
    const auto one = before.optimizer.at(cat("error.", rank, ".dense_2.weight")).as<float>();
    for (std::size_t i = 0; i < owed.size(); ++i) owed[i] += one[i];
  }
  EXPECT_NE(owed, std::vector<float>(owed.size(), 0.0F));
  EXPECT_EQ(before.optimizer.at("powersgd.dense_2.weight").type().text(),
            (tensor::TensorType{{2, 64}, DType::f32}).text());
  const train::RunSummary rest = run(files, kind, {.ranks = 2});
  EXPECT_EQ(rest.status, "finished");
  const checkpoint::Checkpoint after = checkpoint::load_any(files.run_dir);
  EXPECT_TRUE(after.optimizer.contains("error.1.dense_2.weight"));
  EXPECT_FALSE(after.optimizer.contains("error.2.dense_2.weight"));
}

TEST(CompressedRun, ACheckpointThatLacksAResidualIsRefused) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  (void)run(files, "int8", {.ranks = 2, .interrupt_at_step = 7});
  checkpoint::Checkpoint damaged = checkpoint::load_any(files.run_dir);
  damaged.optimizer.erase("error.1.dense_2.weight");
  SystemFs fs;
  (void)checkpoint::Store(fs, files.run_dir + "/checkpoints", 1).commit(damaged);
  try {
    (void)run(files, "int8", {.ranks = 2});
    ADD_FAILURE() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::data);
    EXPECT_NE(std::string(error.what()).find("error.1.dense_2.weight"), std::string::npos)
        << error.what();
  }
}

TEST(CompressedRun, RunningStatisticsAreThoseOfThePlainRun) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  // One step: its statistics are of the same weights.
  const auto statistics = [&](const std::string& kind) {
    (void)run(files, kind, {.ranks = 2, .resume = {.overwrite = true}, .interrupt_at_step = 1});
    const auto checkpoint = checkpoint::load_any(files.run_dir);
    const auto values = checkpoint.model.at("batch_norm_1.running_var").as<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  const std::vector<float> plain = statistics("none");
  for (const std::string& kind : kinds()) EXPECT_EQ(statistics(kind), plain) << kind;
}

TEST(CompressedRun, Learns) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  for (const std::string& kind : kinds()) {
    const train::RunSummary summary = run(files, kind, {.ranks = 2, .resume = {.overwrite = true}});
    EXPECT_GT(summary.eval.at(1).second, 0.9) << kind;
  }
}

/// The digits of the quickstart: within 0.9 points of plain, three of 360 test samples.
TEST(CompressedRun, ReachesThePlainRunsAccuracyOnTheDigits) {
  const TempFolder folder;
  const JobFiles files{.config = "configs/quickstart.yaml", .run_dir = folder / "run"};
  const auto accuracy = [&](const std::string& kind, int ranks) {
    const train::RunSummary summary =
        run_job(files, {.ranks = ranks,
                        .overrides = {cat("run.dir=", files.run_dir), "train.threads=1",
                                      "log.tensorboard=false", cat("comm.compression=", kind)},
                        .resume = {.overwrite = true}});
    return summary.eval.at(1).second;
  };
  const double plain = accuracy("none", 1);
  EXPECT_GT(plain, 0.96);
  for (const std::string& kind : kinds()) {
    for (const int ranks : {2, 4}) {
      EXPECT_GT(accuracy(kind, ranks), plain - 0.009) << kind << " on " << ranks << " ranks";
    }
  }
}

}  // namespace
}  // namespace dlt::train_test

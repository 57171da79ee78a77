// SPDX-License-Identifier: Apache-2.0
// train.shard and updates bucket by bucket: the same bits and files as the plain way.
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "optim/optimizer.h"
#include "train/comm_plan.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

/// dense_1.weight is two blocks, so that shards cut through it; several buckets.
const std::vector<std::string>& wide() {
  static const std::vector<std::string> overrides{
      "model.layers=[{dense: {units: 3000, activation: tanh}}, {dense: {units: 3}}]",
      "comm.bucket_mb=0.04", "train.epochs=1", "train.eval_every_epochs=0"};
  return overrides;
}

std::vector<std::string> with(std::vector<std::string> all, const std::vector<std::string>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// The bytes of the newest checkpoint's tensors.
std::string tensors_of(const JobFiles& files) {
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(files.run_dir + "/checkpoints")) {
    newest = std::max(newest, entry.path().string());
  }
  return read_file(newest + "/model.safetensors") + read_file(newest + "/optimizer.safetensors");
}

std::string run_and_read(const JobFiles& files, int ranks,
                         const std::vector<std::string>& overrides) {
  (void)run_job(files, {.ranks = ranks, .overrides = overrides, .resume = {.overwrite = true}});
  return tensors_of(files);
}

TEST(Sharded, EveryOptimizerWritesThePlainFiles) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const std::string& name : optim::optimizer_names()) {
    const std::vector<std::string> overrides =
        with(wide(), {cat("optimizer={name: ", name, ", learning_rate: 0.01}")});
    const std::string plain = run_and_read(files, 1, overrides);
    for (const int ranks : {1, 2, 3, 4}) {
      const char* shard = ranks % 2 == 0 ? "train.shard=optimizer" : "train.shard=gradients";
      EXPECT_TRUE(run_and_read(files, ranks, with(overrides, {shard})) == plain)
          << name << " on " << ranks << " ranks, " << shard;
    }
  }
}

TEST(Sharded, NormsGroupsAveragesAndThreadsKeepThePlainBits) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::vector<std::string>> cases{
      {"optimizer={name: lamb, learning_rate: 0.02, groups: [{match: '*.bias', weight_decay: 0, "
       "adapt: false}, {match: dense_1.weight, learning_rate_factor: 0.5, l1: 0.001}]}",
       "train.ema={decay: 0.9}", "train.clip_norm=0.1"},
      {"optimizer={name: lars, learning_rate: 5, groups: [{match: dense_2.bias, freeze: true}]}",
       "train.swa={start_step: 1, every_steps: 2}", "train.clip_value=0.05"},
      {"optimizer={name: adamw, amsgrad: true}", "train.ema={}", "numerics.on_nonfinite=skip"},
      {"train.clip_norm=0.01", "train.threads=2"},
      {"train.ema={decay: 0.5, start_step: 2}", "train.threads=3", "comm.overlap=false"},
  };
  for (const auto& more : cases) {
    const std::vector<std::string> overrides = with(wide(), more);
    const std::string plain = run_and_read(files, 1, overrides);
    for (const int ranks : {2, 3, 4}) {
      EXPECT_TRUE(run_and_read(files, ranks, overrides) == plain) << more[0] << " " << ranks;
      for (const char* shard : {"train.shard=optimizer", "train.shard=gradients"}) {
        EXPECT_TRUE(run_and_read(files, ranks, with(overrides, {shard})) == plain)
            << more[0] << " on " << ranks << " ranks, " << shard;
      }
    }
  }
}

TEST(Sharded, EvaluationsSeeWholeWeightsAndAverages) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::string> every{"comm.bucket_mb=0.0001", "train.ema={decay: 0.7}",
                                       "schedule={name: reduce_on_plateau, patience: 0}"};
  const train::RunSummary plain = run_job(files, {.overrides = every});
  for (const int ranks : {2, 4}) {
    const train::RunSummary sharded =
        run_job(files, {.ranks = ranks,
                        .overrides = with(every, {"train.shard=optimizer"}),
                        .resume = {.overwrite = true}});
    EXPECT_EQ(sharded.eval, plain.eval);
    EXPECT_EQ(sharded.weights_hash, plain.weights_hash);
  }
}

TEST(Sharded, RunningStatisticsAreThoseOfTheWholeBatch) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const char* norm : {"batch_norm", "{batch_norm: {sync: true}}"}) {
    const std::vector<std::string> overrides{
        cat("model.layers=[{dense: {units: 40}}, ", norm, ", {dense: {units: 3}}]"),
        "comm.bucket_mb=0.0001", "train.ema={}"};
    const std::string plain = run_and_read(files, 1, overrides);
    for (const int ranks : {2, 3}) {
      // Where ranks share a result, each sees all sums anyway.
      for (const char* memory : {"comm.shared_memory=auto", "comm.shared_memory=off"}) {
        const auto sharded = with(overrides, {"train.shard=optimizer", memory});
        EXPECT_TRUE(run_and_read(files, ranks, sharded) == plain)
            << norm << " on " << ranks << ", " << memory;
      }
    }
  }
}

/// A leaf for each thread: what is reduced is given back, but for the rank's slices.
TEST(Sharded, MemoryThatIsGivenBackIsNotMissed) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const char* norm : {"clip_norm=0.1", "clip_value=0.1"}) {
    const std::vector<std::string> overrides =
        with(wide(), {"train.leaves=4", cat("train.", norm), "train.ema={}"});
    const std::string plain = run_and_read(files, 1, overrides);
    for (const int ranks : {2, 4}) {
      const auto sharded =
          with(overrides, {"train.shard=gradients", cat("train.threads=", 4 / ranks)});
      EXPECT_TRUE(run_and_read(files, ranks, sharded) == plain) << norm << " on " << ranks;
    }
  }
}

TEST(Sharded, RunsResumeOnAnyRanksWithAnyShards) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::string> ema = with(wide(), {"train.ema={decay: 0.9}"});
  const std::string plain = run_and_read(files, 1, ema);
  struct Part {
    int ranks;
    const char* shard;
  };
  for (const auto& [first, second] :
       std::vector<std::pair<Part, Part>>{{{3, "optimizer"}, {2, "gradients"}},
                                          {{2, "none"}, {4, "optimizer"}},
                                          {{4, "gradients"}, {1, "none"}},
                                          {{2, "optimizer"}, {2, "none"}}}) {
    (void)run_job(files, {.ranks = first.ranks,
                          .overrides = with(ema, {cat("train.shard=", first.shard)}),
                          .resume = {.overwrite = true},
                          .interrupt_at_step = 3});
    (void)run_job(files, {.ranks = second.ranks,
                          .overrides = with(ema, {cat("train.shard=", second.shard)})});
    EXPECT_TRUE(tensors_of(files) == plain)
        << first.ranks << " " << first.shard << ", then " << second.ranks << " " << second.shard;
  }
}

TEST(Sharded, LossThatIsNotFiniteEndsTheRunBeforeACheckpoint) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const char* shard : {"none", "optimizer"}) {
    const JobRun run{.ranks = 2,
                     .overrides = {"optimizer={name: sgd, learning_rate: 1.0e+38}",
                                   "checkpoint.every_steps=1", cat("train.shard=", shard)},
                     .resume = {.overwrite = true}};
    try {
      (void)run_job(files, run);
      ADD_FAILURE() << "no failure";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::numerics) << error.what();
    }
    std::vector<std::string> problems;
    SystemFs fs;
    const auto newest =
        checkpoint::Store(fs, files.run_dir + "/checkpoints", 3).load_newest(problems);
    EXPECT_FALSE(newest.has_value() && newest->step > 2) << shard;
  }
}

TEST(Sharded, ARankKeepsTheStateOfItsShardAlone) {
  tensor::FlatLayout layout;
  layout.append("a", {3 * tensor::kBlockElements});
  layout.append("b", {tensor::kBlockElements});
  train::CommPlan plan;
  plan.buckets = {{0, layout.total}};
  plan.shards = ddp::ShardPlan(layout, plan.buckets, 2);
  for (const int rank : {0, 1}) {
    EXPECT_EQ(plan.shard_of(rank)->num_elements(), layout.total / 2);
  }
}

TEST(Shards, TheSettingIsReadAndMistakesAreNamed) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  try {
    (void)run_job(files, {.overrides = {"train.shard=optimiser"}});
    ADD_FAILURE() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::config);
    EXPECT_NE(std::string(error.what()).find("train.shard"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace dlt::train_test

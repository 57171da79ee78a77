// SPDX-License-Identifier: Apache-2.0
// batch_norm in a whole run: its statistics are those of the global batch, the optimiser lets them
// be, and the bits do not depend on who shares the work.
#include <filesystem>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/rng.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

constexpr std::int64_t kNormRows = 47;

/// The numbers of the small job's training rows.
double input(std::int64_t row, std::int64_t j) {
  const float noise =
      rng::normal({.seed = 5, .op = 1, .epoch = 0, .sample = static_cast<std::uint64_t>(row)},
                  static_cast<std::uint64_t>(j));
  return static_cast<double>((j % 3 == row % 3 ? 1.0F : 0.0F) + 0.3F * noise);
}

tensor::StateDict trained(const JobFiles& files, const JobRun& run) {
  (void)run_job(files, run);
  std::string newest;
  const std::string checkpoints = files.run_dir + "/checkpoints";
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints)) {
    newest = std::max(newest, entry.path().string());
  }
  const std::string path = newest + "/model.safetensors", bytes = read_file(path);
  return checkpoint::decode(path, std::as_bytes(std::span(bytes.data(), bytes.size()))).state;
}

const char* const kWhole = "data.global_batch_size=47";
const char* const kOnce = "train.epochs=1";

TEST(BatchNorm, RunningStatisticsAreThoseOfTheWholeGlobalBatch) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNormRows);
  for (const int leaves : {1, 4, 6}) {
    const JobRun run{.ranks = leaves == 1 ? 1 : 2,
                     .overrides = {"model.layers=[{batch_norm: {momentum: 1}}, {dense: {units: "
                                   "3}}]",
                                   kWhole, kOnce, cat("train.leaves=", leaves)},
                     .resume = {.overwrite = true}};
    const tensor::StateDict state = trained(files, run);
    for (std::int64_t j = 0; j < 6; ++j) {
      double mean = 0, squares = 0;
      for (std::int64_t row = 0; row < kNormRows; ++row) mean += input(row, j) / kNormRows;
      for (std::int64_t row = 0; row < kNormRows; ++row) {
        squares += (input(row, j) - mean) * (input(row, j) - mean);
      }
      const auto at = static_cast<std::size_t>(j);
      const auto number = [&](const char* name) {
        return static_cast<double>(state.at(name).as<float>()[at]);
      };
      EXPECT_NEAR(number("batch_norm_1.running_mean"), mean, 1e-6) << leaves << " leaves";
      EXPECT_NEAR(number("batch_norm_1.running_var"), squares / (kNormRows - 1), 1e-6)
          << leaves << " leaves";
    }
  }
}

TEST(BatchNorm, TheOptimiserLeavesStatisticsAlone) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNormRows);
  const tensor::StateDict state = trained(
      files, {.overrides = {"model.layers=[{dense: {units: 5}}, {batch_norm: {momentum: 0}}, relu, "
                            "{dense: {units: 3}}]",
                            "optimizer={name: adamw, learning_rate: 0.1, weight_decay: 0.5}"}});
  for (const float mean : state.at("batch_norm_1.running_mean").as<float>()) EXPECT_EQ(mean, 0.0F);
  for (const float v : state.at("batch_norm_1.running_var").as<float>()) EXPECT_EQ(v, 1.0F);
  EXPECT_NE(state.at("batch_norm_1.gamma").as<float>()[0], 1.0F);
}

TEST(BatchNorm, BitsDoNotDependOnRanksAndThreads) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNormRows);
  const auto run = [&](int ranks, int threads) {
    return run_job(
        files, {.ranks = ranks,
                .overrides = {"model.layers=[{dense: {units: 24, use_bias: false}}, batch_norm, "
                              "relu, {reshape: {shape: [4, 2, 3]}}, max_pool2d, flatten, "
                              "layer_norm, {dense: {units: 3}}]",
                              cat("train.threads=", threads)},
                .resume = {.overwrite = true}});
  };
  const train::RunSummary one = run(1, 1);
  for (const int ranks : {2, 3, 4}) EXPECT_EQ(run(ranks, 1).weights_hash, one.weights_hash);
  EXPECT_EQ(run(2, 3).weights_hash, one.weights_hash);
  EXPECT_EQ(run(3, 1).eval, one.eval);
}

}  // namespace
}  // namespace dlt::train_test

// SPDX-License-Identifier: Apache-2.0
// The first promise: the same config and seed give the same bits, whoever shares the work.
#include <set>

#include <gtest/gtest.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

std::string hash_of(const JobFiles& files, const JobRun& run) {
  return run_job(files, run).weights_hash;
}

TEST(SameBits, DoNotDependOnRanksOrLoaderThreads) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = hash_of(files, {});
  for (const int ranks : {1, 2, 3, 4}) {
    for (const int workers : {0, 1, 4}) {
      const JobRun run{.ranks = ranks,
                       .overrides = {cat("data.workers=", workers)},
                       .resume = {.overwrite = true}};
      EXPECT_EQ(hash_of(files, run), reference)
          << ranks << " ranks, " << workers << " loader threads";
    }
  }
}

TEST(SameBits, DoNotDependOnThreads) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = hash_of(files, {});
  for (const int threads : {2, 3, 6}) {
    for (const int ranks : {1, 2}) {
      const JobRun run{.ranks = ranks,
                       .overrides = {cat("train.threads=", threads)},
                       .resume = {.overwrite = true}};
      EXPECT_EQ(hash_of(files, run), reference) << ranks << " ranks x " << threads << " threads";
    }
  }
}

TEST(SameBits, DoNotDependOnBucketsOrOverlap) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = hash_of(files, {});
  for (const char* overrides :
       {"comm.overlap=false", "comm.bucket_mb=0.0001", "comm.bucket_mb=100"}) {
    const JobRun run{.ranks = 3, .overrides = {overrides}, .resume = {.overwrite = true}};
    EXPECT_EQ(hash_of(files, run), reference) << overrides;
  }
}

TEST(SameBits, DoNotDependOnTheMemoryBudget) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  std::string layers = "model.layers=[";
  for (int i = 0; i < 24; ++i)
    layers += "{dense: {units: 64, activation: tanh}}, {dropout: {rate: 0.1}}, ";
  layers += "{dense: {units: 3}}]";
  const auto hash = [&](const std::string& budget) {
    return hash_of(files,
                   {.overrides = {layers, budget, "data.global_batch_size=40", "train.leaves=2"},
                    .resume = {.overwrite = true}});
  };
  const std::string reference = hash("train.memory_budget=1GiB");
  EXPECT_EQ(hash("train.memory_budget=0.15MiB"), reference);
  EXPECT_THROW((void)hash("train.memory_budget=0.001MiB"), Error);
}

TEST(SameBits, HoldForEvaluationToo) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const train::RunSummary one = run_job(files, {});
  const train::RunSummary four = run_job(files, {.ranks = 4, .resume = {.overwrite = true}});
  ASSERT_EQ(one.eval.size(), 2U);
  EXPECT_EQ(one.eval, four.eval);
  EXPECT_EQ(one.train, four.train);
}

TEST(SameBits, HoldForTablesAndEveryMetricOfClasses) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string metrics =
      "metrics=[accuracy, confusion_matrix, f1, {precision: {average: micro}}, recall, mean_iou, "
      "perplexity, {top_k: {k: 2}}]";
  const train::RunSummary one =
      run_job(files, {.overrides = {metrics}, .resume = {.overwrite = true}});
  ASSERT_EQ(one.eval_tables.size(), 1U);
  double cells = 0;
  for (const auto& row : one.eval_tables[0].second) {
    for (const double cell : row) cells += cell;
  }
  EXPECT_EQ(cells, 47);
  EXPECT_EQ(one.eval.size(), 8U);  // the table is none of them
  EXPECT_EQ(one.train.size(), 8U);
  const std::string summary = read_file(files.run_dir + "/summary.json");
  EXPECT_NE(summary.find("\"confusion_matrix\": [["), std::string::npos) << summary;
  for (const int ranks : {2, 3, 4}) {
    const train::RunSummary many =
        run_job(files, {.ranks = ranks, .overrides = {metrics}, .resume = {.overwrite = true}});
    EXPECT_EQ(one.eval, many.eval) << ranks;
    EXPECT_EQ(one.train, many.train) << ranks;
    EXPECT_EQ(one.eval_tables, many.eval_tables) << ranks;
  }
}

TEST(SameBits, HoldForAugmentedSamples) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string image = "model.input=[2, 3, 1]";
  const std::string layers =
      "model.layers=[flatten, {dense: {units: 9, activation: tanh}}, {dense: {units: 3}}]";
  std::set<std::string> hashes{hash_of(files, {.overrides = {image, layers}})};
  for (const char* augment :
       {"{mixup: {alpha: 0.4}}", "{cutmix: {}}", "{random_flip: both, random_crop: {padding: 1}}",
        "{mixup: {}, cutmix: {}, random_flip: horizontal}"}) {
    const std::string text = cat("data.augment=", augment);
    const train::RunSummary one =
        run_job(files, {.overrides = {image, layers, text}, .resume = {.overwrite = true}});
    hashes.insert(one.weights_hash);
    for (const int ranks : {2, 4}) {
      const std::string workers = cat("data.workers=", ranks == 2 ? 0 : 2);
      const train::RunSummary many = run_job(files, {.ranks = ranks,
                                                     .overrides = {image, layers, text, workers},
                                                     .resume = {.overwrite = true}});
      EXPECT_EQ(many.weights_hash, one.weights_hash) << augment << " on " << ranks;
      EXPECT_EQ(many.train, one.train) << augment << " on " << ranks;
    }
  }
  EXPECT_EQ(hashes.size(), 5U) << "each changes what is trained on";
}

TEST(SameBits, MixedSamplesStillTeach) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const train::RunSummary summary =
      run_job(files, {.ranks = 2, .overrides = {"data.augment={mixup: {alpha: 0.2}}"}});
  EXPECT_GT(summary.eval.at(1).second, 0.9);
}

TEST(SameBits, PaddingOfUnevenLeavesTakesNoPart) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);  // batches of 10 and one of 7
  const train::RunSummary one = run_job(files, {.overrides = {"train.leaves=1"}});
  for (const char* leaves : {"train.leaves=3", "train.leaves=4", "train.leaves=10"}) {
    const train::RunSummary many =
        run_job(files, {.ranks = 2, .overrides = {leaves}, .resume = {.overwrite = true}});
    EXPECT_NEAR(many.eval.at(0).second, one.eval.at(0).second, 1e-5) << leaves;
    EXPECT_NEAR(many.train.at(0).second, one.train.at(0).second, 1e-5) << leaves;
  }
}

/// Optimisers and averages with norms and groups: what depends on more than one element.
const std::vector<std::vector<std::string>>& update_cases() {
  static const std::vector<std::vector<std::string>> all{
      {"optimizer={name: lamb, learning_rate: 0.02, groups: [{match: '*.bias', weight_decay: 0, "
       "adapt: false}, {match: dense_1.weight, learning_rate_factor: 0.5, l1: 0.001}]}",
       "train.ema={decay: 0.9}", "train.clip_norm=1"},
      {"optimizer={name: lars, learning_rate: 5, groups: [{match: dense_2.bias, freeze: true}]}",
       "train.swa={start_epoch: 1, every_steps: 2}", "train.clip_value=0.05"},
      {"schedule={name: reduce_on_plateau, patience: 0, threshold: 0.5}", "train.ema={decay: 0.5}"},
  };
  return all;
}

TEST(SameBits, HoldForNormsGroupsAndAverages) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string plain = hash_of(files, {});
  for (const auto& overrides : update_cases()) {
    const train::RunSummary one =
        run_job(files, {.overrides = overrides, .resume = {.overwrite = true}});
    EXPECT_NE(one.weights_hash, plain) << overrides[0];
    for (const int ranks : {2, 4}) {
      const train::RunSummary many =
          run_job(files, {.ranks = ranks, .overrides = overrides, .resume = {.overwrite = true}});
      EXPECT_EQ(many.weights_hash, one.weights_hash) << overrides[0] << " " << ranks << " ranks";
      EXPECT_EQ(many.eval, one.eval) << overrides[0] << " " << ranks << " ranks";
    }
    std::vector<std::string> threads = overrides;
    threads.emplace_back("train.threads=3");
    const train::RunSummary more =
        run_job(files, {.overrides = threads, .resume = {.overwrite = true}});
    EXPECT_EQ(more.weights_hash, one.weights_hash) << overrides[0];
    EXPECT_EQ(more.eval, one.eval) << overrides[0];
  }
}

TEST(SameBits, DoNotDependOnRanksOrThreadsInBf16) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  std::vector<std::string> precisions{"bf16_emulated"};
  if (cpu_features().avx512_bf16) precisions.emplace_back("bf16");
  const std::string f32 = hash_of(files, {});
  for (const std::string& precision : precisions) {
    const std::string set = "train.precision=" + precision;
    const std::string reference =
        hash_of(files, {.overrides = {set}, .resume = {.overwrite = true}});
    EXPECT_NE(reference, f32) << precision;
    for (const int ranks : {1, 2, 4}) {
      for (const int threads : {1, 3}) {
        const JobRun run{.ranks = ranks,
                         .overrides = {set, cat("train.threads=", threads)},
                         .resume = {.overwrite = true}};
        EXPECT_EQ(hash_of(files, run), reference)
            << precision << " on " << ranks << " ranks x " << threads << " threads";
      }
    }
  }
}

TEST(SameBits, SmallJobLearnsInBf16) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const std::string precision = cpu_features().avx512_bf16 ? "bf16" : "bf16_emulated";
  const train::RunSummary summary =
      run_job(files, {.ranks = 2, .overrides = {"train.precision=" + precision}});
  EXPECT_EQ(summary.steps, 90);
  EXPECT_GT(summary.eval.at(1).second, 0.9);
}

TEST(SameBits, DifferForAnotherSeed) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = hash_of(files, {});
  EXPECT_NE(hash_of(files, {.overrides = {"run.seed=4"}, .resume = {.overwrite = true}}),
            reference);
}

TEST(SameBits, SmallJobLearns) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const train::RunSummary summary = run_job(files, {.ranks = 2});
  EXPECT_EQ(summary.status, "finished");
  EXPECT_EQ(summary.steps, 90);
  EXPECT_GT(summary.eval.at(1).second, 0.9);
}

TEST(SameBits, FastReductionIsClose) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const train::RunSummary exact = run_job(files, {.ranks = 2});
  const train::RunSummary fast = run_job(
      files, {.ranks = 2, .overrides = {"train.reduction=fast"}, .resume = {.overwrite = true}});
  EXPECT_NEAR(fast.eval.at(0).second, exact.eval.at(0).second, 1e-4);
}

}  // namespace
}  // namespace dlt::train_test

// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "observe/json_object.h"
#include "ops/ops.h"
#include "support/run_ranks.h"
#include "train/predict.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

Error failure_of(const JobFiles& files, const JobRun& run) {
  try {
    (void)run_job(files, run);
  } catch (const Error& error) {
    return error;
  }
  return {Exit::ok, "no failure"};
}

TEST(Resume, EqualsAnUndisturbedRunFromAnyStep) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = run_job(files, {}).weights_hash;
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int i = 0; i < 4; ++i) {
    const auto stop = static_cast<std::int64_t>(1 + random() % 14);
    const int first_ranks = 1 + static_cast<int>(random() % 4);
    const int second_ranks = 1 + static_cast<int>(random() % 4);
    const train::RunSummary part = run_job(
        files, {.ranks = first_ranks, .resume = {.overwrite = true}, .interrupt_at_step = stop});
    EXPECT_EQ(part.status, "stopped");
    EXPECT_EQ(part.steps, stop);
    const train::RunSummary whole = run_job(files, {.ranks = second_ranks});
    EXPECT_EQ(whole.weights_hash, reference)
        << "stopped at step " << stop << " on " << first_ranks << " ranks, resumed on "
        << second_ranks << ", seed " << seed;
  }
}

/// Whatever step it stops at, also between an epoch's last step and its evaluation.
TEST(Resume, EqualsAnUndisturbedRunWithPlateausAndAverages) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::vector<std::string>> cases{
      {"schedule={name: reduce_on_plateau, patience: 0, threshold: 0.9}", "train.ema={decay: 0.7}"},
      {"train.swa={start_step: 3, every_steps: 2}",
       "optimizer={name: lamb, groups: [{match: '*.bias', freeze: true}]}"}};
  for (const auto& overrides : cases) {
    const train::RunSummary whole =
        run_job(files, {.overrides = overrides, .resume = {.overwrite = true}});
    for (const std::int64_t stop : {1, 4, 5, 8, 10, 13}) {
      (void)run_job(files, {.ranks = 2,
                            .overrides = overrides,
                            .resume = {.overwrite = true},
                            .interrupt_at_step = stop});
      const train::RunSummary rest = run_job(files, {.overrides = overrides});
      EXPECT_EQ(rest.weights_hash, whole.weights_hash) << overrides[0] << " stopped at " << stop;
      EXPECT_EQ(rest.eval, whole.eval) << overrides[0] << " stopped at " << stop;
    }
  }
}

TEST(Resume, MakesUpAnEvaluationThatAPlateauWaitsFor) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);  // 5 steps an epoch
  // The checkpoint of step 5 is written before the evaluation that follows the step.
  const std::vector<std::string> plateau{
      "schedule={name: reduce_on_plateau, patience: 0, threshold: 0.9}", "checkpoint.every_steps=5",
      "checkpoint.keep=9"};
  const train::RunSummary whole = run_job(files, {.overrides = plateau});
  for (const char* name : {"step-000000010", "step-000000015"}) {
    std::filesystem::remove_all(files.run_dir + "/checkpoints/" + name);
  }
  std::filesystem::remove(files.run_dir + "/summary.json");
  const train::RunSummary rest = run_job(files, {.ranks = 2, .overrides = plateau});
  EXPECT_EQ(rest.weights_hash, whole.weights_hash);
  const std::string constant = run_job(files, {.resume = {.overwrite = true}}).weights_hash;
  EXPECT_NE(constant, whole.weights_hash);  // the plateau did reduce the rate
}

TEST(Resume, AverageIsInTheCheckpointAndUsedForEvaluation) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::string> ema{"train.ema={decay: 0.9}"};
  const train::RunSummary averaged = run_job(files, {.overrides = ema});
  const checkpoint::Checkpoint last = checkpoint::load_any(files.run_dir);
  ASSERT_TRUE(last.optimizer.contains("ema.dense_1.weight"));
  const auto average = last.optimizer.at("ema.dense_1.weight").as<float>();
  const auto weights = last.model.at("dense_1.weight").as<float>();
  EXPECT_FALSE(std::equal(average.begin(), average.end(), weights.begin()));
  const train::RunSummary raw =
      run_job(files, {.overrides = {"train.ema={decay: 0.9, use_for_eval: false}"},
                      .resume = {.overwrite = true}});
  EXPECT_EQ(raw.weights_hash, averaged.weights_hash);
  EXPECT_NE(raw.eval, averaged.eval);
}

/// Text of `dltrain eval` on one rank.
std::string evaluation(const JobFiles& files, const std::vector<std::string>& overrides) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  SystemFs fs;
  SystemClock clock;
  train::EvaluateJob job(
      {.table = table,
       .backend = *backend,
       .fs = fs,
       .clock = clock,
       .host = "here",
       .program_version = "test",
       .program_hash = "0"},
      {.config_path = files.config, .overrides = overrides, .checkpoint = files.run_dir});
  std::string text;
  run_ranks(1, [&](comm::Communicator& comm) { text = job.run(comm); });
  return text;
}

TEST(Resume, EvaluationOfACheckpointTakesTheAverageWhenAsked) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string ema = "train.ema={decay: 0.9}";
  const train::RunSummary run = run_job(files, {.overrides = {ema}});
  const std::string averaged = evaluation(files, {ema});
  EXPECT_NE(averaged.find("\"weights\": \"ema\""), std::string::npos) << averaged;
  EXPECT_EQ(averaged.find(run.weights_hash), std::string::npos) << averaged;
  observe::JsonObject loss;
  loss.set("loss", run.eval.at(0).second);
  const std::string text = loss.text();
  EXPECT_NE(averaged.find(text.substr(text.find(':') + 1, 12)), std::string::npos)
      << averaged << text;
  const std::string raw = evaluation(files, {"train.ema={decay: 0.9, use_for_eval: false}"});
  EXPECT_NE(raw.find(run.weights_hash), std::string::npos) << raw;
  EXPECT_THROW((void)evaluation(files, {"train.swa={start_step: 0}"}), Error);
}

TEST(Resume, RunningStatisticsAreNotOptimisedAndNotAveraged) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string model =
      "model={input: [6], layers: [{dense: {units: 9}}, batch_norm, {dense: {units: 3}}]}";
  const auto trained = [&](const std::string& optimizer) {
    (void)run_job(files,
                  {.overrides = {model, optimizer, "train.ema={}"}, .resume = {.overwrite = true}});
    return checkpoint::load_any(files.run_dir);
  };
  // They follow the data alone: no rate moves them, no decay pulls at them.
  const auto still = trained("optimizer={name: sgd, learning_rate: 0}");
  const auto moved = trained(
      "optimizer={name: sgd, learning_rate: 0.5, weight_decay: 0.5, "
      "groups: [{match: ['dense_1.*'], freeze: true}]}");
  for (const char* name : {"batch_norm_1.running_mean", "batch_norm_1.running_var"}) {
    const auto a = still.model.at(name).as<float>(), b = moved.model.at(name).as<float>();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin())) << name;
    EXPECT_NE(a[0], std::string(name).ends_with("var") ? 1.0F : 0.0F) << name;
    const auto average = moved.optimizer.at(std::string("ema.") + name).as<float>();
    EXPECT_TRUE(std::equal(b.begin(), b.end(), average.begin())) << name;
  }
  const auto scale = still.model.at("dense_2.weight").as<float>();
  EXPECT_FALSE(
      std::equal(scale.begin(), scale.end(), moved.model.at("dense_2.weight").as<float>().begin()));
}

TEST(Resume, RaisedEpochsGoOnFromTheEnd) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = run_job(files, {.overrides = {"train.epochs=5"}}).weights_hash;
  (void)run_job(files, {.resume = {.overwrite = true}});
  const train::RunSummary more = run_job(files, {.overrides = {"train.epochs=5"}});
  EXPECT_EQ(more.steps, 25);
  EXPECT_EQ(more.weights_hash, reference);
}

TEST(Resume, KeepsTheLeavesOfTheFirstStart) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::string> automatic{"train.leaves=auto"};
  const std::string reference = run_job(files, {.ranks = 4, .overrides = automatic}).weights_hash;
  (void)run_job(
      files,
      {.ranks = 4, .overrides = automatic, .resume = {.overwrite = true}, .interrupt_at_step = 7});
  const train::RunSummary resumed = run_job(files, {.ranks = 2, .overrides = automatic});
  EXPECT_EQ(resumed.leaves, 4);
  EXPECT_EQ(resumed.weights_hash, reference);
}

TEST(Resume, RefusesAnotherConfigNamingTheKey) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  (void)run_job(files, {.interrupt_at_step = 5});
  const Error error = failure_of(files, {.overrides = {"optimizer.learning_rate=0.5"}});
  EXPECT_EQ(error.exit(), Exit::config);
  EXPECT_NE(std::string(error.what()).find("optimizer.learning_rate"), std::string::npos)
      << error.what();
  EXPECT_NE(error.hint().find("--overwrite"), std::string::npos);
}

TEST(Resume, RefusesFewerEpochsThanBefore) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  (void)run_job(files, {});
  EXPECT_EQ(failure_of(files, {.overrides = {"train.epochs=2"}}).exit(), Exit::config);
}

TEST(Resume, PassesOverADamagedCheckpoint) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string reference = run_job(files, {}).weights_hash;
  (void)run_job(files, {.resume = {.overwrite = true}, .interrupt_at_step = 9});
  const std::string newest = files.run_dir + "/checkpoints/step-000000009/model.safetensors";
  ASSERT_TRUE(exists(newest));
  std::filesystem::resize_file(newest, 40);
  EXPECT_EQ(run_job(files, {}).weights_hash, reference);
}

TEST(Resume, AllDamagedIsAnErrorNeverAFreshStart) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  (void)run_job(files, {.interrupt_at_step = 9});
  for (const std::string& name : list_directory(files.run_dir + "/checkpoints")) {
    std::ofstream(files.run_dir + "/checkpoints/" + name + "/manifest.json") << "{}";
  }
  EXPECT_EQ(failure_of(files, {}).exit(), Exit::data);
}

TEST(Resume, NonFiniteLossHaltsWithTheStep) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const Error error = failure_of(
      files, {.ranks = 2, .overrides = {"optimizer={name: sgd, learning_rate: 1.0e+38}"}});
  EXPECT_EQ(error.exit(), Exit::numerics) << error.what();
  EXPECT_NE(std::string(error.what()).find("step "), std::string::npos) << error.what();
}

TEST(Resume, MoreRanksThanLeavesSaysWhatToSet) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const Error error = failure_of(files, {.ranks = 4, .overrides = {"train.leaves=3"}});
  EXPECT_EQ(error.exit(), Exit::config);
  EXPECT_NE(error.hint().find("train.leaves"), std::string::npos);
}

}  // namespace
}  // namespace dlt::train_test

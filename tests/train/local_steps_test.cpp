// SPDX-License-Identifier: Apache-2.0
#include "train/local_steps.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "checkpoint/store.h"
#include "ops/ops.h"
#include "support/run_ranks.h"
#include "train/engine.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

std::string every(int steps) { return "comm.sync_every=" + std::to_string(steps); }

TEST(LocalSteps, MeanIsWeightedAndKeepsWhatNobodyMoved) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  run_ranks(3, [&](comm::Communicator& comm) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto backend = tensor::make_cpu_backend();
    const auto config = train::read_run_config(
        files.config, {"optimizer={name: sgd, momentum: 0.9}"}, table, *backend);
    tensor::FlatLayout layout;
    layout.append("a", {40});
    train::ModelState state(layout, config.optimizer.get(), *backend);
    float* params = state.params();
    float* momentum = state.states().at(0);
    std::fill_n(params, 40, 0.1F);
    train::LocalSteps local(comm, state);
    const auto rank = static_cast<float>(comm.rank());
    for (int i = 0; i < 20; ++i) {
      params[i] += rank + 1;   // 1, 2, 3
      momentum[i] = 4 * rank;  // 0, 4, 8
    }
    local.note(std::vector<double>{5, 1, 0});
    local.note(std::vector<double>{1, 1, 0});
    local.synchronise(comm);
    for (int i = 0; i < 40; ++i) {
      // Weights 6, 2, 0: (6 · 1 + 2 · 2) / 8 and (6 · 0 + 2 · 4) / 8.
      EXPECT_FLOAT_EQ(params[i], i < 20 ? 0.1F + 1.25F : 0.1F) << i;
      EXPECT_FLOAT_EQ(momentum[i], i < 20 ? 1.0F : 0.0F) << i;
    }
    EXPECT_EQ(params[30], 0.1F) << "to the bit";
    // No step since: nothing happens, whatever the ranks hold.
    params[0] = rank;
    local.synchronise(comm);
    EXPECT_EQ(params[0], rank);
  });
}

TEST(LocalSteps, EveryStepIsThePlainRun) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::string plain = run_job(files, {.ranks = 2}).weights_hash;
  const auto with = [&](int ranks, int steps) {
    return run_job(files,
                   {.ranks = ranks, .overrides = {every(steps)}, .resume = {.overwrite = true}})
        .weights_hash;
  };
  EXPECT_EQ(with(2, 1), plain);
  EXPECT_EQ(with(1, 4), plain) << "one rank has nobody to wait for";
  const std::string local = with(2, 4);
  EXPECT_NE(local, plain);
  EXPECT_EQ(with(2, 4), local) << "the same bits again";
  EXPECT_NE(with(3, 4), local);
}

/// SGD with momentum is linear in the gradient: the mean of updates is the update of the mean. Also
/// for the short last batch, in which ranks have unequal numbers of samples.
TEST(LocalSteps, WithAMeanAfterEachStepSgdIsThePlainOneToRounding) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  std::vector<std::string> overrides{
      "optimizer={name: sgd, learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01}",
      "checkpoint.every_steps=1", "train.ema={decay: 0.9}",
      "model.layers=[{dense: {units: 9}}, {dense: {units: 3}}]"};
  (void)run_job(files, {.ranks = 4, .overrides = overrides});
  const checkpoint::Checkpoint plain = checkpoint::load_any(files.run_dir);
  overrides.push_back(every(2));  // a checkpoint makes the ranks equal, too
  (void)run_job(files, {.ranks = 4, .overrides = overrides, .resume = {.overwrite = true}});
  const checkpoint::Checkpoint local = checkpoint::load_any(files.run_dir);
  for (const auto* of : {&plain.model, &plain.optimizer}) {
    for (const auto& [name, tensor] : *of) {
      const auto& other = of == &plain.model ? local.model : local.optimizer;
      const auto a = tensor.as<float>(), b = other.at(name).as<float>();
      for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-5) << name << " " << i;
    }
  }
}

TEST(LocalSteps, ResumedEqualsUndisturbedAtTheSameRankCount) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const int ranks : {2, 3}) {
    const std::vector<std::string> overrides{
        every(3), "model.layers=[{dense: {units: 9}}, batch_norm, {dense: {units: 3}}]"};
    const JobRun anew{.ranks = ranks, .overrides = overrides, .resume = {.overwrite = true}};
    const std::string whole = run_job(files, anew).weights_hash;
    for (const std::int64_t stop : {3, 9}) {
      JobRun part = anew;
      part.interrupt_at_step = stop;
      (void)run_job(files, part);
      EXPECT_EQ(run_job(files, {.ranks = ranks, .overrides = overrides}).weights_hash, whole)
          << "stopped at step " << stop << " on " << ranks << " ranks";
    }
  }
}

TEST(LocalSteps, ASignalStopsWhereTheRanksAreEqual) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<std::string> overrides{every(3), "checkpoint.every_steps=0"};
  const JobRun anew{.ranks = 2, .overrides = overrides, .resume = {.overwrite = true}};
  const std::string whole = run_job(files, anew).weights_hash;
  JobRun part = anew;
  part.stop_wanted = true;
  const train::RunSummary stopped = run_job(files, part);
  EXPECT_EQ(stopped.status, "preempted");
  EXPECT_EQ(stopped.steps, 3);
  EXPECT_EQ(run_job(files, {.ranks = 2, .overrides = overrides}).weights_hash, whole);
}

/// All ranks halt or skip together, though each looks at a gradient of its own.
TEST(LocalSteps, StepsThatAreNotFiniteAreSkippedByAllRanks) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  std::vector<std::string> overrides{every(4), "optimizer={name: sgd, learning_rate: 1e38}",
                                     "train.clip_norm=1e30", "checkpoint.every_steps=0",
                                     "log.every_steps=2"};
  const auto failure = [&] {
    try {
      (void)run_job(files, {.ranks = 2, .overrides = overrides, .resume = {.overwrite = true}});
    } catch (const Error& error) {
      return error.exit();
    }
    return Exit::ok;
  };
  EXPECT_EQ(failure(), Exit::numerics);
  overrides.emplace_back("numerics.on_nonfinite=skip");
  (void)failure();  // what counts is that no rank waits for another for ever
}

TEST(LocalSteps, Learn) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const train::RunSummary summary = run_job(files, {.ranks = 3, .overrides = {every(4)}});
  EXPECT_EQ(summary.status, "finished");
  EXPECT_GT(summary.eval.at(1).second, 0.9);
}

TEST(LocalSteps, ReachThePlainRunsAccuracyOnTheDigits) {
  const TempFolder folder;
  const JobFiles files{.config = "configs/quickstart.yaml", .run_dir = folder / "run"};
  const auto accuracy = [&](const std::string& steps) {
    const train::RunSummary summary =
        run_job(files, {.ranks = 2,
                        .overrides = {"run.dir=" + files.run_dir, "train.threads=1",
                                      "log.tensorboard=false", steps},
                        .resume = {.overwrite = true}});
    return summary.eval.at(1).second;
  };
  EXPECT_GT(accuracy(every(4)), accuracy(every(1)) - 0.01);
}

}  // namespace
}  // namespace dlt::train_test

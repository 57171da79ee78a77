// SPDX-License-Identifier: Apache-2.0
// Numbers gone bad: skipped, gone back behind, warned of or halted at, with the same bits whoever
// shares the work and wherever the run was interrupted.
#include "train/numerics.h"

#include <cmath>
#include <limits>
#include <regex>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using train::LossTracker;
using train::NumericsOptions;
using train::NumericsState;

constexpr std::int64_t kNumericsRows = 47;  // 5 steps an epoch, 15 in all
constexpr std::int64_t kBadRow = 20;
constexpr const char* kRelu =
    "model.layers=[{dense: {units: 9, activation: relu}}, {dense: {units: 3}}]";

/// One row's numbers are finite in the file and overflow in the first layer.
JobFiles write_overflowing_job(const TempFolder& folder) {
  return write_small_job(
      folder, kNumericsRows, [](std::vector<float>& x, std::vector<std::int32_t>&) {
        for (std::int64_t j = 0; j < 6; ++j) {
          x[static_cast<std::size_t>(kBadRow * 6 + j)] = (j % 2 == 0 ? 1.0F : -1.0F) * 3e38F;
        }
      });
}

std::vector<std::string> with_relu(std::vector<std::string> more) {
  more.emplace_back(kRelu);
  return more;
}

Error numerics_failure(const JobFiles& files, const JobRun& run) {
  try {
    (void)run_job(files, run);
  } catch (const Error& error) {
    return error;
  }
  return {Exit::ok, "no failure"};
}

/// Lines of events.jsonl that hold this text.
std::vector<std::string> events_with(const JobFiles& files, const std::string& text) {
  std::vector<std::string> out;
  std::istringstream lines(read_file(files.run_dir + "/events.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    if (line.find(text) != std::string::npos) out.push_back(line);
  }
  return out;
}

TEST(LossTracker, NamesAJumpOnceItKnowsTheSpread) {
  const NumericsOptions options{.spike_zscore = 6, .spike_window = 10};
  LossTracker tracker;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(tracker.zscore(options, 100.0), 0) << "after " << i << " steps";
    tracker.observe(options, i % 2 == 0 ? 1.0 : 1.2);
  }
  EXPECT_NEAR(tracker.mean, 1.1, 0.02);
  EXPECT_NEAR(std::sqrt(tracker.variance), 0.1, 0.01);
  EXPECT_NEAR(tracker.zscore(options, 2.1), 10.0, 1.0);
  EXPECT_LT(tracker.zscore(options, 0.1), 0);
}

TEST(LossTracker, GetsUsedToALevelThatLasts) {
  const NumericsOptions options{.spike_zscore = 6, .spike_window = 10};
  LossTracker tracker;
  for (int i = 0; i < 20; ++i) tracker.observe(options, i % 2 == 0 ? 1.0 : 1.2);
  EXPECT_GT(tracker.zscore(options, 5.0), 6);
  tracker.observe(options, 5.0);
  EXPECT_GT(tracker.zscore(options, 5.0), 6);  // one spike does not hide the next
  int steps = 1;
  while (tracker.zscore(options, 5.0) > 6) {
    tracker.observe(options, 5.0);
    ASSERT_LT(++steps, 100);
  }
}

TEST(NumericsState, ComesBackFromACheckpoint) {
  NumericsState state;
  state.tracker = {.mean = 0.5, .variance = 0.25, .observed = 12};
  state.rollbacks = 2;
  for (const std::int64_t step : {9, 3, 9}) state.skip(step);
  tensor::StateDict saved;
  state.save(saved);
  EXPECT_EQ(NumericsState::count(saved), saved.size());
  NumericsState loaded;
  loaded.load(saved);
  EXPECT_EQ(loaded.skipped(), (std::vector<std::int64_t>{3, 9}));
  EXPECT_EQ(loaded.rollbacks, 2);
  EXPECT_EQ(loaded.tracker.mean, 0.5);
  EXPECT_EQ(loaded.tracker.variance, 0.25);
  EXPECT_EQ(loaded.tracker.observed, 12);
}

TEST(NumericsState, LeavesNothingInACheckpointWhereNothingHappened) {
  tensor::StateDict saved;
  NumericsState().save(saved);
  EXPECT_TRUE(saved.empty());
}

TEST(NumericsState, RefusesTensorsThatDoNotFit) {
  const auto refused = [](const char* name, const tensor::Tensor& tensor) {
    NumericsState state;
    EXPECT_THROW(state.load({{name, tensor}}), Error) << name;
  };
  refused("numerics.tracker", tensor::Tensor({3}, DType::f64));
  refused("numerics.skipped", tensor::Tensor({3}, DType::f32));
  const tensor::Tensor bad({4}, DType::f64);
  bad.as<double>()[2] = std::numeric_limits<double>::quiet_NaN();
  refused("numerics.tracker", bad);
  const tensor::Tensor negative({1}, DType::i64);
  negative.as<std::int64_t>()[0] = -1;
  refused("numerics.skipped", negative);
}

TEST(Numerics, HaltNamesStepLeafRowsAndLayer) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  // With one rank, and where updates wait, the parameters of the step are at hand.
  for (const int ranks : {1, 2}) {
    const Error error = numerics_failure(files, {.ranks = ranks,
                                                 .overrides = with_relu({"train.clip_norm=1000"}),
                                                 .resume = {.overwrite = true}});
    EXPECT_EQ(error.exit(), Exit::numerics);
    const std::string text = error.what();
    EXPECT_TRUE(std::regex_search(
        text, std::regex("step [1-5]: the loss is -?nan, expected finite numbers: leaf [0-5] "
                         "\\(rank [01], rows? ([0-9]+, )*20(, [0-9]+)*\\); layer 'dense_1', op "
                         "[a-z_]+, element \\[[0-9], [0-9]\\] of \\[2, 9\\] is -?(inf|nan); first "
                         "gradient that is not finite: 'dense_[12]")))
        << text;
    const auto events = events_with(files, "\"numerics\"");
    ASSERT_EQ(events.size(), 1U);
    EXPECT_NE(events[0].find("\"layer\": \"dense_1\""), std::string::npos) << events[0];
  }
}

TEST(Numerics, HaltPointsToReplayWhereTheParametersAreGone) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  const Error error = numerics_failure(files, {.ranks = 3, .overrides = with_relu({})});
  EXPECT_EQ(error.exit(), Exit::numerics);
  EXPECT_NE(std::string(error.what()).find("20"), std::string::npos) << error.what();
  EXPECT_NE(error.hint().find(cat("dltrain replay ", files.run_dir, " --step ")), std::string::npos)
      << error.hint();
}

TEST(Numerics, SkipAndRollbackHaveTheSameBitsOnAnyRanks) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  const std::string reference =
      run_job(files, {.overrides = with_relu({"numerics.on_nonfinite=skip"})}).weights_hash;
  EXPECT_EQ(events_with(files, "\"action\": \"skip\"").size(), 3U);  // once an epoch
  for (const int ranks : {1, 2, 3, 4}) {
    for (const char* policy : {"skip", "rollback"}) {
      const JobRun run{.ranks = ranks,
                       .overrides = with_relu({cat("numerics.on_nonfinite=", policy)}),
                       .resume = {.overwrite = true}};
      EXPECT_EQ(run_job(files, run).weights_hash, reference) << policy << " on " << ranks;
    }
    EXPECT_EQ(events_with(files, "\"action\": \"rollback\"").size(), 3U);
    EXPECT_EQ(checkpoint::load_any(files.run_dir).optimizer.count("numerics.skipped"), 1U);
  }
}

TEST(Numerics, RollbackWithoutCheckpointGoesToTheStart) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  const std::string reference =
      run_job(files, {.overrides = with_relu({"numerics.on_nonfinite=skip"})}).weights_hash;
  const JobRun run{.ranks = 2,
                   .overrides = with_relu({"numerics.on_nonfinite=rollback",
                                           "checkpoint.every_steps=0", "train.shard=optimizer"}),
                   .resume = {.overwrite = true}};
  EXPECT_EQ(run_job(files, run).weights_hash, reference);
}

TEST(Numerics, RollbackToTheStartTakesTheWeightsTheRunBeganWith) {
  const TempFolder folder, other;
  const std::string from = other / "begin";
  const JobFiles files = write_overflowing_job(folder);
  const auto overrides = [&](const std::string& policy) {
    return with_relu({"numerics.on_nonfinite=" + policy, "checkpoint.every_steps=0",
                      "train.init={from: " + from + "}"});
  };
  (void)run_job(files, {.overrides = with_relu({"train.stop_at_step=3", "run.seed=5",
                                                "run.dir=" + from, "numerics.on_nonfinite=skip"})});
  const std::string reference = run_job(files, {.overrides = overrides("skip")}).weights_hash;
  const JobRun run{.ranks = 2, .overrides = overrides("rollback"), .resume = {.overwrite = true}};
  EXPECT_EQ(run_job(files, run).weights_hash, reference);
  const JobRun without{.overrides = with_relu({"numerics.on_nonfinite=skip"}),
                       .resume = {.overwrite = true}};
  EXPECT_NE(run_job(files, without).weights_hash, reference);
}

TEST(Numerics, RollbackIsRememberedOverAnInterruption) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  for (const char* policy : {"skip", "rollback"}) {
    const auto overrides =
        with_relu({cat("numerics.on_nonfinite=", policy), "train.ema={decay: 0.5}"});
    const std::string reference =
        run_job(files, {.overrides = overrides, .resume = {.overwrite = true}}).weights_hash;
    for (const std::int64_t stop : {3, 6, 10, 13}) {
      (void)run_job(files, {.ranks = 2,
                            .overrides = overrides,
                            .resume = {.overwrite = true},
                            .interrupt_at_step = stop});
      EXPECT_EQ(run_job(files, {.ranks = 3, .overrides = overrides}).weights_hash, reference)
          << policy << " stopped at " << stop;
    }
  }
}

TEST(Numerics, RollbacksAreLimited) {
  const TempFolder folder;
  const JobFiles files = write_overflowing_job(folder);
  const Error error = numerics_failure(
      files,
      {.ranks = 2,
       .overrides = with_relu({"numerics.on_nonfinite=rollback", "numerics.max_rollbacks=2"})});
  EXPECT_EQ(error.exit(), Exit::numerics);
  EXPECT_NE(std::string(error.what()).find("2 rollbacks were made already"), std::string::npos)
      << error.what();
}

TEST(Numerics, SkippingDoesNotGoOnWithBadParameters) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows);
  // A step of this size overflows the parameters, which no later step can mend.
  const Error error = numerics_failure(
      files,
      {.ranks = 2,
       .overrides = {"numerics.on_nonfinite=skip", "optimizer={name: sgd, learning_rate: 1e300}"}});
  EXPECT_EQ(error.exit(), Exit::numerics);
  EXPECT_NE(std::string(error.what()).find("is not finite since an earlier step"),
            std::string::npos)
      << error.what();
}

TEST(Numerics, SkippingEndsWhereNoStepIsGood) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows);
  // Weights so large that every product overflows, though they are finite themselves.
  const Error error =
      numerics_failure(files, {.ranks = 2,
                               .overrides = {"numerics.on_nonfinite=skip", "train.epochs=30",
                                             "optimizer={name: sgd, learning_rate: 3e38}"}});
  EXPECT_EQ(error.exit(), Exit::numerics);
  EXPECT_NE(std::string(error.what()).find("100 steps in a row"), std::string::npos)
      << error.what();
}

/// Two rows are far off and contradict each other, so that the loss of an epoch's last step jumps;
/// nothing overflows.
constexpr std::int64_t kSpikeRow = 44;
JobFiles write_spiking_job(const TempFolder& folder) {
  return write_small_job(folder, kNumericsRows,
                         [](std::vector<float>& x, std::vector<std::int32_t>& y) {
                           for (const std::int64_t row : {kSpikeRow - 1, kSpikeRow}) {
                             y[static_cast<std::size_t>(row)] = row == kSpikeRow ? 0 : 1;
                             for (std::int64_t j = 0; j < 6; ++j)
                               x[static_cast<std::size_t>(row * 6 + j)] = 400.0F;
                           }
                         });
}

std::vector<std::string> on_spike(const std::string& action) {
  return {cat("numerics.on_spike=", action),
          "numerics.spike_window=4",
          "numerics.spike_zscore=4",
          "train.epochs=6",
          "data.shuffle=false",
          kRelu};
}

TEST(Spike, WarnOffAndSkipHaveTheSameBitsOnAnyRanks) {
  const TempFolder folder;
  const JobFiles files = write_spiking_job(folder);
  const auto hash = [&](const std::string& action, int ranks) {
    return run_job(files,
                   {.ranks = ranks, .overrides = on_spike(action), .resume = {.overwrite = true}})
        .weights_hash;
  };
  const std::string off = hash("off", 1), skip = hash("skip", 1);
  const auto spikes = events_with(files, "\"trouble\": \"spike\"");
  ASSERT_FALSE(spikes.empty());
  EXPECT_TRUE(std::regex_search(spikes[0], std::regex("\"rows\": \"rows? .*4[34]"))) << spikes[0];
  EXPECT_NE(off, skip);
  for (const int ranks : {1, 2, 4}) {
    EXPECT_EQ(hash("warn", ranks), off) << ranks;
    EXPECT_EQ(hash("skip", ranks), skip) << ranks;
  }
}

TEST(Spike, RollbackHasTheSameBitsOnAnyRanksAndOverAnInterruption) {
  const TempFolder folder;
  const JobFiles files = write_spiking_job(folder);
  std::vector<std::string> overrides = on_spike("rollback");
  overrides.emplace_back("numerics.max_rollbacks=20");
  const std::string reference = run_job(files, {.overrides = overrides}).weights_hash;
  ASSERT_FALSE(events_with(files, "\"action\": \"rollback\"").empty());
  for (const std::int64_t stop : {7, 18}) {
    (void)run_job(files, {.ranks = 2,
                          .overrides = overrides,
                          .resume = {.overwrite = true},
                          .interrupt_at_step = stop});
    EXPECT_EQ(run_job(files, {.ranks = 3, .overrides = overrides}).weights_hash, reference)
        << "stopped at " << stop;
  }
}

TEST(Spike, SkipHasTheSameBitsOverAnInterruption) {
  const TempFolder folder;
  const JobFiles files = write_spiking_job(folder);
  const auto overrides = on_spike("skip");
  const std::string reference = run_job(files, {.overrides = overrides}).weights_hash;
  for (const std::int64_t stop : {7, 18}) {
    (void)run_job(files, {.ranks = 2,
                          .overrides = overrides,
                          .resume = {.overwrite = true},
                          .interrupt_at_step = stop});
    EXPECT_EQ(run_job(files, {.ranks = 3, .overrides = overrides}).weights_hash, reference)
        << "stopped at " << stop;
  }
}

TEST(Spike, HaltEndsWith80) {
  const TempFolder folder;
  const JobFiles files = write_spiking_job(folder);
  const Error error = numerics_failure(files, {.ranks = 2, .overrides = on_spike("halt")});
  EXPECT_EQ(error.exit(), Exit::numerics);
  EXPECT_NE(std::string(error.what()).find("is a spike (z-score"), std::string::npos)
      << error.what();
}

TEST(Poison, ListedStepsMakeNoUpdateOnAnyRanks) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows);
  const std::string plain = run_job(files, {}).weights_hash;
  const JobRun one{.resume = {.overwrite = true}, .skip_steps = {0, 6, 14}};
  const std::string reference = run_job(files, one).weights_hash;
  EXPECT_EQ(events_with(files, "\"trouble\": \"listed\"").size(), 3U);
  EXPECT_NE(reference, plain);
  for (const int ranks : {2, 3, 4}) {
    JobRun run = one;
    run.ranks = ranks;
    run.overrides = {"data.workers=1"};
    EXPECT_EQ(run_job(files, run).weights_hash, reference) << ranks;
  }
}

/// A row that cannot be used at all is not even read: the step it falls into is the poison.
TEST(Poison, AListedStepReadsNoData) {
  const TempFolder folder;
  const JobFiles files = write_small_job(
      folder, kNumericsRows,
      [](std::vector<float>&, std::vector<std::int32_t>& y) { y[kNumericsRows - 1] = 7; });
  std::vector<std::string> overrides{"data.shuffle=false", "train.epochs=1", "data.on_bad=skip"};
  (void)run_job(files, {.overrides = overrides, .skip_steps = {4}});
  EXPECT_EQ(read_file(files.run_dir + "/logs/rank-00.log").find("label 7"), std::string::npos);
  (void)run_job(files, {.overrides = overrides, .resume = {.overwrite = true}});
  EXPECT_NE(read_file(files.run_dir + "/logs/rank-00.log").find("label 7"), std::string::npos);
}

TEST(Poison, LaterResumesKeepTheList) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows);
  const std::vector<std::string> overrides{"train.ema={decay: 0.5}"};
  const std::string reference =
      run_job(files, {.overrides = overrides, .skip_steps = {6, 11}}).weights_hash;
  (void)run_job(files, {.ranks = 2,
                        .overrides = overrides,
                        .resume = {.overwrite = true},
                        .interrupt_at_step = 5,
                        .skip_steps = {6, 11}});
  EXPECT_EQ(run_job(files, {.ranks = 3, .overrides = overrides}).weights_hash, reference);
}

TEST(Poison, RanksMustAgreeOnTheList) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows);
  const Error error = numerics_failure(files, {.ranks = 2, .skip_steps = {3}, .skip_on_rank = 1});
  EXPECT_EQ(error.exit(), Exit::config);
  EXPECT_NE(std::string(error.what()).find("skipped steps"), std::string::npos) << error.what();
}

TEST(BadSamples, AreNamedByFileAndRow) {
  const TempFolder folder;
  const JobFiles files = write_small_job(
      folder, kNumericsRows, [](std::vector<float>&, std::vector<std::int32_t>& y) { y[17] = 12; });
  const Error error = numerics_failure(files, {.ranks = 2});
  EXPECT_EQ(error.exit(), Exit::data);
  EXPECT_NE(std::string(error.what()).find("row 17: label 12 is out of range"), std::string::npos);
}

TEST(BadSamples, SkippedOnesHaveTheSameBitsOnAnyRanks) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, kNumericsRows,
                                         [](std::vector<float>& x, std::vector<std::int32_t>& y) {
                                           y[17] = 12;
                                           x[30 * 6 + 2] = std::numeric_limits<float>::quiet_NaN();
                                           y[0] = -1;
                                         });
  const auto hash = [&](int ranks, const std::string& more) {
    const JobRun run{
        .ranks = ranks, .overrides = {"data.on_bad=skip", more}, .resume = {.overwrite = true}};
    return run_job(files, run).weights_hash;
  };
  for (const char* more : {"data.shuffle=true", "train.clip_norm=1",
                           "model.layers=[{dense: {units: 9}}, batch_norm, {dense: {units: 3}}]"}) {
    const std::string reference = hash(1, more);
    EXPECT_NE(read_file(files.run_dir + "/summary.json").find("\"bad_samples\": 3"),
              std::string::npos);
    const std::string log = read_file(files.run_dir + "/logs/rank-00.log");
    std::size_t told = 0;  // each once, though each was met in three epochs
    for (std::size_t at = 0; (at = log.find("is passed over", at)) != std::string::npos; ++at) {
      ++told;
    }
    EXPECT_EQ(told, 3U) << log;
    for (const int ranks : {2, 3, 4}) EXPECT_EQ(hash(ranks, more), reference) << more << ranks;
    EXPECT_NE(read_file(files.run_dir + "/summary.json").find("\"bad_samples\": 3"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace dlt::train_test

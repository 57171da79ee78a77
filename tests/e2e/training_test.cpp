// SPDX-License-Identifier: Apache-2.0
// Whole runs: the same bits on any shape, nothing lost, the commands on what a run leaves.
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

class Training : public testing::Test {
 protected:
  Training() { test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_)); }

  /// Trains with --quiet and further words; the run must succeed.
  ProgramResult train(int ranks, const Words& more = {}) {
    Words words{config_, "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult got = dltrain_on(ranks, words);
    EXPECT_EQ(got.exit_code, 0) << got.err;
    return got;
  }
  /// The hash of an undisturbed run on one rank.
  std::string hash_of_whole_run(const Words& more = {}) {
    Words words{"--overwrite"};
    words.insert(words.end(), more.begin(), more.end());
    train(0, words);
    return summary_hash(run_);
  }

  test::TempFolder folder_;
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml";
};

TEST_F(Training, CompressedRunsGoOnWithTheSameBits) {
  for (const char* way : {"comm.compression=int8", "comm.compression={name: powersgd, rank: 2}",
                          "comm.sync_every=5"}) {
    train(3, {"--overwrite", "--set", way});
    const std::string whole = summary_hash(run_);
    train(3, {"--overwrite", "--set", way, "--set", "train.stop_at_step=10"});
    train(3, {"--set", way});
    EXPECT_EQ(summary_hash(run_), whole) << way;
  }
}

TEST_F(Training, OneHashOnAnyNumberOfRanksAndLoaderThreads) {
  const std::string expected = hash_of_whole_run();
  EXPECT_EQ(expected.size(), 64U);
  for (const int ranks : {1, 2, 3, 4}) {
    for (const char* workers : {"1", "4"}) {
      train(ranks, {"--overwrite", "--set", cat("data.workers=", workers)});
      EXPECT_EQ(summary_hash(run_), expected) << ranks << " ranks, " << workers << " workers";
    }
  }
}

TEST_F(Training, OneHashWithAnyNumberOfThreadsAndBuckets) {
  const std::string expected = hash_of_whole_run();
  for (const char* set :
       {"train.threads=1", "train.threads=4", "comm.bucket_mb=0.001", "comm.overlap=false"}) {
    train(2, {"--overwrite", "--set", set});
    EXPECT_EQ(summary_hash(run_), expected) << set;
  }
}

TEST_F(Training, ASeedChangesTheHash) {
  EXPECT_NE(hash_of_whole_run(), hash_of_whole_run({"--set", "run.seed=2"}));
}

TEST_F(Training, KilledAtARandomMomentItGoesOnToTheSameBits) {
  const std::string expected = hash_of_whole_run({"--set", "train.epochs=12"});
  const unsigned seed = static_cast<unsigned>(getpid());
  const int epoch = 1 + static_cast<int>(seed % 10);
  SCOPED_TRACE(cat("killed after epoch ", epoch));
  for (const int ranks : {0, 2}) {
    const ProgramResult killed = dltrain_on(
        ranks,
        {config_, "--overwrite", "--set", "train.epochs=12", "--set", "checkpoint.every_steps=7"},
        {.signal = SIGKILL,
         .signal_after = cat("step ", epoch * 23, "  eval"),
         .signal_child = ranks > 0});
    EXPECT_EQ(killed.exit_code, 137) << killed.err;
    EXPECT_FALSE(exists(run_ + "/summary.json"));
    train(ranks == 0 ? 3 : 0, {"--set", "train.epochs=12", "--set", "checkpoint.every_steps=7"});
    EXPECT_EQ(summary_hash(run_), expected);
  }
}

TEST_F(Training, ASignalEndsItWith75AndItsStateSaved) {
  const Words words{config_, "--set", "train.epochs=400"};
  const ProgramResult stopped =
      dltrain(words, {.signal = SIGTERM, .signal_after = "step 46  eval"});
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_NE(stopped.out.find("preempted"), std::string::npos) << stopped.out;
  const std::string steps = json_value(read_file(run_ + "/summary.json"), "steps");
  EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "status"), "preempted");

  // The same number of steps undisturbed ends in the same state.
  const std::string hash = summary_hash(run_);
  train(0, {"--overwrite", "--set", "train.epochs=400", "--set", "train.stop_at_step=" + steps});
  EXPECT_EQ(summary_hash(run_), hash);
}

TEST_F(Training, ASignalToMpirunReachesAllRanks) {
  const ProgramResult stopped = dltrain_ranks(2, {config_, "--set", "train.epochs=4000"},
                                              {.signal = SIGUSR1, .signal_after = "step 46  eval"});
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "status"), "preempted");
}

TEST_F(Training, AFinishedRunSaysSoAndMoreEpochsGoOn) {
  train(0);
  const std::string after_one = summary_hash(run_);
  const ProgramResult again = train(2);
  EXPECT_NE(again.out.find("finished already: 23 of 23 steps"), std::string::npos) << again.out;
  EXPECT_EQ(summary_hash(run_), after_one);
  train(2, {"--set", "train.epochs=2"});
  const std::string grown = summary_hash(run_);
  EXPECT_EQ(grown, hash_of_whole_run({"--set", "train.epochs=2"}));
}

TEST_F(Training, AnotherChangeOfTheConfigIsRefused) {
  train(0);
  for (const int ranks : {0, 4}) {
    const ProgramResult got = dltrain_on(ranks, {config_, "--set", "optimizer.learning_rate=0.1"});
    EXPECT_EQ(got.exit_code, 78) << got.err;
    EXPECT_TRUE(got.err.starts_with("dltrain: error: optimizer.learning_rate: expected '0.005'"))
        << got.err;
    EXPECT_EQ(count(got.err, "--overwrite"), 1) << got.err;
  }
}

TEST_F(Training, QuietSaysNothingOnStderr) { EXPECT_EQ(train(0).err, ""); }

TEST_F(Training, RanksWithDifferentConfigsAreNamed) {
  const std::string program = DLTRAIN_PROGRAM;
  const ProgramResult got =
      run_program({DLTRAIN_MPIEXEC, "--oversubscribe", "--bind-to", "none", "-n", "2", program,
                   config_, ":", "-n", "1", program, config_, "--set", "run.seed=9"});
  EXPECT_EQ(got.exit_code, 78) << got.err;
  EXPECT_EQ(count(got.err, "dltrain: error: rank 2 ("), 1) << got.err;
  EXPECT_NE(got.err.find("differs from the other ranks in config"), std::string::npos) << got.err;
}

TEST_F(Training, ALonelyMistakeOfOneRankEndsTheJob) {
  const std::string program = DLTRAIN_PROGRAM;
  const ProgramResult got =
      run_program({DLTRAIN_MPIEXEC, "--oversubscribe", "--bind-to", "none", "-n", "1", program,
                   config_, ":", "-n", "1", program, "nowhere.yaml"},
                  {.timeout_s = 30});
  EXPECT_FALSE(got.timed_out);
  EXPECT_EQ(got.exit_code, 66) << got.err;
  EXPECT_NE(got.err.find("rank 1 ("), std::string::npos) << got.err;
  EXPECT_NE(got.err.find("nowhere.yaml: no such file"), std::string::npos) << got.err;
}

TEST_F(Training, EvaluatesACheckpointAlikeOnAnyNumberOfRanks) {
  train(0);
  const std::string summary = read_file(run_ + "/summary.json");
  const std::string eval = summary.substr(summary.find("\"eval\""));
  const ProgramResult one = dltrain({"eval", config_, "--checkpoint", run_});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(json_value(one.out, "accuracy"), json_value(eval, "accuracy"));
  const ProgramResult three = dltrain_ranks(3, {"eval", config_, "--checkpoint", run_});
  EXPECT_EQ(three.out, one.out);
}

TEST_F(Training, PredictsInInputOrderOnAnyNumberOfRanks) {
  train(0);
  std::string first;
  for (const int ranks : {0, 1, 3, 4}) {
    const std::string output = folder_ / cat("p", ranks, ".h5");
    const ProgramResult got =
        dltrain_on(ranks, {"predict", config_, "--checkpoint", run_, "--input",
                           "datasets/digits.h5", "--dataset", "/test/images", "--output", output});
    EXPECT_EQ(got.exit_code, 0) << got.err;
    const std::string bytes = read_file(output);
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << ranks << " ranks";
  }
}

TEST_F(Training, CheckpointCommandsAgreeWithTheSummary) {
  train(0, {"--set", "checkpoint.every_steps=10"});
  const std::string hash = summary_hash(run_);
  EXPECT_EQ(dltrain({"checkpoint", "hash", run_}).out, hash + "\n");
  const ProgramResult listed = dltrain({"checkpoint", "list", run_});
  EXPECT_EQ(count(listed.out, "\n"), 4) << listed.out;  // a heading, steps 10, 20 and 23
  EXPECT_EQ(count(listed.out, hash), 1);
  const ProgramResult verified = dltrain({"checkpoint", "verify", run_});
  EXPECT_EQ(verified.exit_code, 0);
  EXPECT_EQ(count(verified.out, ": ok  "), 3) << verified.out;
}

TEST_F(Training, PeakMemoryIsWithin10PercentOfWhatCheckPredicts) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  const Words wide{config_, "--set", "train.epochs=1", "--set", "model.layers.1.dense.units=20000"};
  Words check{"check"};
  check.insert(check.end(), wide.begin(), wide.end());
  const std::string text = dltrain(check).out;
  const std::size_t at = text.find("peak memory");
  ASSERT_NE(at, std::string::npos) << text;
  const double predicted = std::stod(text.substr(at + 11)) * 1048576.0;
  const ProgramResult run = dltrain(wide);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NEAR(static_cast<double>(run.peak_rss_bytes) / predicted, 1.0, 0.1)
      << run.peak_rss_bytes << " bytes\n"
      << text;
}

TEST_F(Training, PeakMemoryOfShardsIsWithin10PercentOfWhatCheckPredicts) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  std::string layers = "model.layers=[flatten, ";
  for (int i = 0; i < 16; ++i) layers += "{dense: {units: 640, activation: relu}}, ";
  layers += "{dense: {units: 10}}]";
  std::map<std::string, double> peak_mib;
  for (const char* shard : {"none", "optimizer", "gradients"}) {
    const Words deep{config_,
                     "--set",
                     layers,
                     "--set",
                     "train.leaves=2",
                     "--set",
                     "train.threads=1",
                     "--set",
                     "comm.bucket_mb=1.5",
                     "--set",
                     cat("train.shard=", shard)};
    Words check{"check", "--ranks", "2"};
    check.insert(check.end(), deep.begin(), deep.end());
    const std::string text = dltrain(check).out;
    const std::size_t at = text.find("peak memory");
    ASSERT_NE(at, std::string::npos) << text;
    Words words{"--quiet", "--overwrite"};
    words.insert(words.end(), deep.begin(), deep.end());
    const ProgramResult run = dltrain_ranks(2, words);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    peak_mib[shard] = static_cast<double>(run.peak_rss_bytes) / 1048576.0;
    EXPECT_NEAR(peak_mib[shard] / std::stod(text.substr(at + 11)), 1.0, 0.1)
        << shard << ": " << peak_mib[shard] << " MiB\n"
        << text;
  }
  // 24 MiB of parameters, two states of that size, of which half stays; then gradients in 17
  // buckets without the host's result and what is read of the other rank, of which half and little
  // more stays.
  EXPECT_NEAR(peak_mib["none"] - peak_mib["optimizer"], 24, 4);
  EXPECT_NEAR(peak_mib["optimizer"] - peak_mib["gradients"], 46, 6);
}

TEST_F(Training, CheckSaysHowMuchSharedMemoryAHostNeeds) {
  const auto shared_mib = [&](const std::string& memory) {
    Words words{"check", config_, "--ranks", "2"};
    for (const std::string& setting :
         {std::string("model.layers.1.dense.units=20000"), std::string("train.leaves=2"),
          "comm.shared_memory=" + memory}) {
      words.insert(words.end(), {"--set", setting});
    }
    const std::string text = dltrain(words).out;
    const std::size_t at = text.find("shared memory");
    return at == std::string::npos ? 0.0 : std::stod(text.substr(at + 13));
  };
  // 75 x 20,000 weights: the buffers of two ranks and their sum; parameters and what adam keeps.
  const double flat_mib = 75 * 20000 * 4 / 1048576.0;
  EXPECT_NEAR(shared_mib("gradients"), 3 * flat_mib, 0.2);
  EXPECT_NEAR(shared_mib("auto") - shared_mib("gradients"), 3 * flat_mib, 0.2);
  EXPECT_EQ(shared_mib("off"), 0);
}

TEST_F(Training, BenchPrintsJson) {
  const ProgramResult got = dltrain({"bench", config_, "--steps", "5", "--warmup", "1"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  for (const char* name : {"samples_per_s", "median", "p95", "step_cpu_ms", "peak_rss_mb"}) {
    EXPECT_NE(json_value(got.out, name), "") << name << "\n" << got.out;
  }
  EXPECT_FALSE(exists(run_));
}

TEST_F(Training, QuickstartReaches96Percent) {
  const ProgramResult got =
      dltrain_ranks(2, {"configs/quickstart.yaml", "--quiet", "--set", "run.dir=" + run_});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const std::string summary = read_file(run_ + "/summary.json");
  EXPECT_GE(std::stod(json_value(summary.substr(summary.find("\"eval\"")), "accuracy")), 0.96);
}

TEST_F(Training, TutorialRegressionLearns) {
  const std::string data = folder_ / "regression.h5";
  ASSERT_EQ(dltrain({"data", "synth", "regression", "--output", data}).exit_code, 0);
  const ProgramResult got =
      dltrain({"configs/tutorial-regression.yaml", "--quiet", "--set", "run.dir=" + run_, "--set",
               "data.train.file=" + data, "--set", "data.eval.file=" + data});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const std::string summary = read_file(run_ + "/summary.json");
  EXPECT_LT(std::stod(json_value(summary.substr(summary.find("\"eval\"")), "loss")), 0.1);
}

TEST_F(Training, MnistConfigIsSound) {
  const ProgramResult got =
      dltrain({"bench", "configs/mnist-mlp.yaml", "--steps", "2", "--warmup", "0"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
}

}  // namespace
}  // namespace dlt::e2e

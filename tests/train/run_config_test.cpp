// SPDX-License-Identifier: Apache-2.0
#include "train/run_config.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/ops.h"
#include "train/run_dir.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

struct Read {
  std::string mistakes;  // "" if the config is good
  Exit exit = Exit::ok;
};

Read read(const std::string& path, const std::vector<std::string>& overrides) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  try {
    (void)train::read_run_config(path, overrides, table, *backend);
  } catch (const Error& error) {
    return {error.what(), error.exit()};
  }
  return {};
}

class RunConfig : public ::testing::Test {
 protected:
  TempFolder folder_;
  JobFiles files_ = write_small_job(folder_, 47);
};

TEST_F(RunConfig, SmallJobIsGood) { EXPECT_EQ(read(files_.config, {}).mistakes, ""); }

TEST_F(RunConfig, MistakesNameKeyExpectationAndValue) {
  struct Case {
    const char* override_text;
    const char* message;
  };
  const std::vector<Case> cases{
      {"optimizer.learning_rte=0.1", "error: optimizer.learning_rte: unknown key"},
      {"optimizer.learning_rte=0.1",
       "hint: did you mean 'learning_rate'?  legal: amsgrad, betas, eps, groups, learning_rate, "
       "name, "
       "weight_decay"},
      {"data.global_batch_size=0",
       "error: data.global_batch_size: expected an integer from 1 to 1048576, got '0'"},
      {"data.global_batch_size=010",
       "data.global_batch_size: expected an integer from 1 to 1048576, got '010'"},
      {"train.leaves=11", "train.leaves: expected at most data.global_batch_size (10), got '11'"},
      {"train.steps=5", "train.steps: expected either train.epochs or train.steps, got both"},
      {"train.precision=f64", "train.precision: expected"},
      {"comm.compression=int7",
       "comm.compression: expected one of none, bf16, fp16, int8, powersgd, topk, got 'int7'"},
      {"comm.compression={name: int8, block: 100}", "comm.compression.block: expected a power"},
      {"comm.compression={name: int8, rank: 4}", "comm.compression.rank: unknown key"},
      {"comm.compression={name: topk, share: 0}", "comm.compression.share: expected a number"},
      {"comm.compression={block: 16}", "comm.compression.name: expected"},
      {"comm.sync_every=0", "comm.sync_every: expected an integer from 1"},
      {"comm={sync_every: 4, compression: int8}",
       "comm.sync_every: expected 1 beside comm.compression: int8, got '4'"},
      {"comm={balance: true, sync_every: 2}",
       "comm.balance: expected false beside comm.sync_every: 2, got 'true'"},
      {"numerics.on_nonfinite=explode", "numerics.on_nonfinite: expected"},
      {"metrics=[acuracy]", "did you mean 'accuracy'"},
      {"loss=crossentropy", "did you mean 'cross_entropy'"},
      {"trian.epochs=3", "did you mean 'train'"},
      {"comm.bucket_mb=-1", "comm.bucket_mb: expected"},
      {"fault.hang_timeout_s=.nan", "fault.hang_timeout_s: expected a number"},
      {"data.train.layout=nhcw", "did you mean 'nhwc'"},
      {"data.train.window.length=5",
       "data.train.window.length: expected 6, the length of the model's input [6], got '5'"},
      {"data.augment={random_flip: sideways}", "data.augment.random_flip: expected one of"},
      {"data.augment={random_crop: {padding: 4}}",
       "data.augment.random_crop: expected a model of images [height, width, channels], its input "
       "is [6]"},
      {"data.augment={mixup: {alpha: 0}}", "data.augment.mixup.alpha: expected a number"},
      {"data.augment={mixpu: {}}", "did you mean 'mixup'"},
      {"data.eval.window.stride=0", "data.eval.window.stride: expected an integer from 1"},
      {"data.train.window={lenght: 6}", "did you mean 'length'"},
      {"train.clip_value=0", "train.clip_value: expected a number"},
      {"train.ema={decay: 1.5}", "train.ema.decay: expected a number"},
      {"optimizer.groups=[{match: '*.bais'}]",
       "optimizer.groups.0.match: expected a pattern that matches a parameter, got '*.bais'"},
      {"schedule={name: reduce_on_plateau, monitor: auc}",
       "schedule: expected schedule.monitor to be one of loss, accuracy, got 'auc'"},
      {"log.tensorboard=yes", "log.tensorboard: expected true or false, got 'yes'"},
  };
  for (const Case& c : cases) {
    const Read got = read(files_.config, {c.override_text});
    EXPECT_EQ(got.exit, Exit::config) << c.override_text;
    EXPECT_NE(got.mistakes.find(c.message), std::string::npos) << c.override_text << " gave\n"
                                                               << got.mistakes;
  }
}

TEST_F(RunConfig, MixedLabelsWantALossThatTakesThem) {
  const Read got = read(files_.config, {"data.augment={mixup: {}}", "loss=focal"});
  EXPECT_NE(got.mistakes.find("data.augment.mixup: expected a loss that takes mixed labels, got "
                              "'focal'"),
            std::string::npos)
      << got.mistakes;
  EXPECT_EQ(read(files_.config, {"data.augment={mixup: {}}"}).mistakes, "");
}

TEST_F(RunConfig, PlateauNeedsEvaluations) {
  const Read got = read(files_.config, {"schedule=reduce_on_plateau", "train.eval_every_epochs=0"});
  EXPECT_NE(got.mistakes.find("expected evaluations for reduce_on_plateau to follow, got none"),
            std::string::npos)
      << got.mistakes;
  EXPECT_EQ(read(files_.config, {"schedule=reduce_on_plateau"}).mistakes, "");
}

TEST_F(RunConfig, ResolvedGroupsLinksAndAveragesAreReadAgain) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  const train::RunConfig config = train::read_run_config(
      files_.config,
      {"optimizer={name: lamb, groups: [{match: ['*.bias'], weight_decay: 0}, {match: '*'}]}",
       "schedule={chain: [{name: constant, steps: 3}, {name: exponential, gamma: 0.5}]}",
       "train.swa={start_epoch: 1}", "train.clip_value=0.5"},
      table, *backend);
  const std::string yaml = train::resolved_yaml(config);
  const std::string again = (folder_ / "again.yaml");
  std::ofstream(again) << yaml;
  const train::RunConfig second = train::read_run_config(again, {}, table, *backend);
  EXPECT_EQ(train::resolved_yaml(second), yaml);
  EXPECT_EQ(second.optimizer->groups().size(), 2U);
  EXPECT_EQ(second.schedule.links.size(), 2U);
  EXPECT_EQ(second.averaging.start_epoch, 1);
}

TEST_F(RunConfig, PlainWordsStandForTheNameAlone) {
  EXPECT_EQ(
      read(files_.config, {"optimizer=adam", "schedule=cosine", "loss=cross_entropy"}).mistakes,
      "");
}

TEST_F(RunConfig, AllMistakesComeAtOnce) {
  const Read got = read(files_.config, {"train.epochs=0", "comm.overlap=maybe", "run.seed=-1"});
  EXPECT_NE(got.mistakes.find("train.epochs"), std::string::npos);
  EXPECT_NE(got.mistakes.find("comm.overlap"), std::string::npos);
  EXPECT_NE(got.mistakes.find("run.seed"), std::string::npos);
}

TEST_F(RunConfig, ResolvedYamlHasEveryKeyAndGivesTheSameConfigAgain) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  const train::RunConfig config = train::read_run_config(files_.config, {}, table, *backend);
  const std::string yaml = train::resolved_yaml(config);
  for (const char* key : {"shuffle: true", "hang_timeout_s: 30", "on_nonfinite: halt",
                          "eps:", "betas:", "reduction: exact"}) {
    EXPECT_NE(yaml.find(key), std::string::npos) << key << " is not in\n" << yaml;
  }
  const std::string again = (folder_ / "again.yaml");
  std::ofstream(again) << yaml;
  const train::RunConfig second = train::read_run_config(again, {}, table, *backend);
  EXPECT_EQ(train::resolved_yaml(second), yaml);
  EXPECT_EQ(train::config_fingerprint(second), train::config_fingerprint(config));
}

TEST_F(RunConfig, FingerprintLeavesOutTheLengthOfTheRun) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend();
  const auto fingerprint = [&](const std::vector<std::string>& overrides) {
    return train::config_fingerprint(
        train::read_run_config(files_.config, overrides, table, *backend));
  };
  EXPECT_EQ(fingerprint({}), fingerprint({"train.epochs=9"}));
  EXPECT_EQ(fingerprint({}), fingerprint({"train.stop_at_step=9"}));
  EXPECT_NE(fingerprint({}), fingerprint({"run.seed=9"}));
  EXPECT_NE(fingerprint({}), fingerprint({"optimizer.eps=1.0e-7"}));
}

TEST(RunConfigPrecision, Bf16WantsAProcessorThatHasIt) {
  CpuFeatures cpu;
  cpu.model = "Old CPU";
  EXPECT_EQ(train::precision_problem("bf16", cpu),
            "expected a CPU with AVX-512 BF16, this one (Old CPU) lacks avx512_bf16");
  EXPECT_EQ(train::precision_problem("bf16_emulated", cpu), "");
  EXPECT_EQ(train::precision_problem("f32", cpu), "");
  cpu.avx512_bf16 = true;
  EXPECT_EQ(train::precision_problem("bf16", cpu), "");
}

}  // namespace
}  // namespace dlt::train_test

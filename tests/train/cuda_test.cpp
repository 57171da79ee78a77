// SPDX-License-Identifier: Apache-2.0
// Whole runs whose leaves are on emulated GPUs, one for each rank.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/list_gpus.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "comm/nccl_library.h"
#include "cuda_emulator/emulator.h"
#include "ops/ops.h"
#include "support/run_ranks.h"
#include "tensor/gpus.h"
#include "train/bench.h"
#include "train/run_log.h"
#include "train/small_job.h"

extern "C" void dltrain_nccl_plugin(dlt::comm::NcclPlugin* out);

namespace dlt::train_test {
namespace {

comm::NcclFound emulated_nccl() {
  comm::NcclPlugin plugin;
  dltrain_nccl_plugin(&plugin);
  return {.library = plugin.make(), .why_not = ""};
}

std::unique_ptr<train::Devices> emulated(int rank, tensor::Backend& host) {
  auto devices = std::make_unique<train::Devices>(
      host,
      std::make_unique<tensor::Gpus>(tensor::GpuPlugin{.interface = tensor::GpuPlugin::kInterface,
                                                       .make = cuda::make_cuda_backend,
                                                       .list = cuda::list_gpus}),
      train::LocalRank{.rank = rank, .size = 1});
  devices->set_find_nccl(emulated_nccl);
  return devices;
}

/// One rank's GPU after the other, with gradients by way of the host.
std::unique_ptr<train::Devices> emulated_without_nccl(int rank, tensor::Backend& host) {
  auto devices = emulated(rank, host);
  devices->set_find_nccl(
      [] { return comm::NcclFound{.library = nullptr, .why_not = "no such file"}; });
  return devices;
}

/// A bias in front of a batch_norm has no gradient but rounding, of which adam would make steps.
constexpr const char* kSgd = "optimizer={name: sgd, learning_rate: 0.1}";
constexpr const char* kConvolutions =
    "model.layers=[{conv2d: {filters: 4, kernel_size: [2, 2]}}, batch_norm, relu, flatten, "
    "{dense: {units: 3}}]";

class CudaRun : public testing::Test {
 protected:
  CudaRun() {
    emulator::reset();
    emulator::set_devices(std::vector<emulator::Device>(4));
  }
  ~CudaRun() override {
    if (HasFailure()) std::cerr << "emulator seed " << emulator::seed() << "\n";
  }
  [[nodiscard]] train::RunSummary run(JobRun job) const {
    job.devices = emulated;
    job.resume.overwrite = true;
    return run_job(files_, job);
  }
  /// The CPU and a GPU come to the same to rounding.
  void expect_as_cpu(const std::vector<std::string>& overrides, double tolerance = 1e-4) const {
    const train::RunSummary cpu =
        run_job(files_, {.overrides = overrides, .resume = {.overwrite = true}});
    const train::RunSummary gpu = run({.overrides = overrides});
    ASSERT_EQ(gpu.eval.size(), cpu.eval.size());
    for (std::size_t i = 0; i < cpu.eval.size(); ++i) {
      EXPECT_NEAR(gpu.eval[i].second, cpu.eval[i].second, tolerance) << cpu.eval[i].first;
      EXPECT_NEAR(gpu.train[i].second, cpu.train[i].second, tolerance) << cpu.train[i].first;
    }
  }
  TempFolder folder_;
  JobFiles files_ = write_small_job(folder_, 47);
};

TEST_F(CudaRun, ComesToWhatTheCpuComesTo) { expect_as_cpu({}); }

TEST_F(CudaRun, ComesToWhatTheCpuComesToWithNormsAndAverages) {
  expect_as_cpu({"train.clip_norm=0.5", "train.ema={decay: 0.9}"});
  expect_as_cpu({"optimizer={name: lamb, learning_rate: 0.02}"});
}

TEST_F(CudaRun, ComesToWhatTheCpuComesToWithRunningStatistics) {
  expect_as_cpu({"model.input=[2, 3, 1]", kConvolutions, kSgd});
}

TEST_F(CudaRun, ComesToWhatTheCpuComesToByWayOfTheHost) {
  expect_as_cpu({"train.shard=optimizer"});
  expect_as_cpu({"train.shard=optimizer", "model.input=[2, 3, 1]", kConvolutions, kSgd});
}

TEST_F(CudaRun, ReplaysWholeSteps) {
  const emulator::Counts before = emulator::counts();
  const train::RunSummary summary = run(
      {.overrides = {"train.leaves=1",
                     "model.layers=[{dense: {units: 9, activation: tanh}}, {dense: {units: 3}}]"}});
  const emulator::Counts after = emulator::counts();
  // Two slots, each given once and then captured.
  EXPECT_GE(after.graph_launches - before.graph_launches, summary.steps - 2);
}

TEST_F(CudaRun, ClipsWithinACapturedStepToTheBitsOfOtherDivisions) {
  const std::vector<std::string> clipped{"train.clip_norm=0.5", "train.leaves=4"};
  const emulator::Counts before = emulator::counts();
  const train::RunSummary four = run({.ranks = 4, .overrides = clipped});
  // Each rank has one leaf: whole steps.
  EXPECT_GE(emulator::counts().graph_launches - before.graph_launches, 4 * (four.steps - 2));
  EXPECT_EQ(run({.overrides = clipped}).weights_hash, four.weights_hash);
  std::vector<std::string> given = clipped;
  given.emplace_back("train.capture=false");
  EXPECT_EQ(run({.ranks = 4, .overrides = given}).weights_hash, four.weights_hash);
  // Where the host clips, since it has a say in the update anyway.
  given.emplace_back("numerics.on_nonfinite=skip");
  EXPECT_EQ(run({.ranks = 2, .overrides = given}).weights_hash, four.weights_hash);
  EXPECT_NE(run({.overrides = {"train.leaves=4"}}).weights_hash, four.weights_hash);
}

TEST_F(CudaRun, TracesKernelsWithTheSameBits) {
  const std::string plain = run({.overrides = {"train.leaves=1"}}).weights_hash;
  const train::RunSummary traced = run({.overrides = {"train.leaves=1", "log.trace_steps=3"}});
  EXPECT_EQ(traced.weights_hash, plain);
  const std::string trace = read_file(train::trace_file(files_.run_dir, 0));
  EXPECT_NE(trace.find("dense_2: linear"), std::string::npos) << trace;
}

TEST_F(CudaRun, AllocatesNothingInAStep) {
  const auto allocations = [&](const char* epochs) {
    const std::int64_t before = emulator::counts().allocations;
    (void)run({.overrides = {epochs, "train.eval_every_epochs=0"}});
    return emulator::counts().allocations - before;
  };
  EXPECT_EQ(allocations("train.epochs=2"), allocations("train.epochs=5"));
}

TEST_F(CudaRun, GivesTheSameBitsOnAnyRanks) {
  const std::string one = run({}).weights_hash;
  EXPECT_EQ(run({}).weights_hash, one);
  for (const int ranks : {2, 3, 4}) {
    const JobRun many{.ranks = ranks, .overrides = {"comm.verify_every=1"}};
    EXPECT_EQ(run(many).weights_hash, one) << ranks;
  }
}

TEST_F(CudaRun, GoesByWayOfTheHostsWithoutNccl) {
  JobRun two{.ranks = 2, .resume = {.overwrite = true}, .devices = emulated_without_nccl};
  const train::RunSummary summary = run_job(files_, two);
  const train::RunSummary cpu = run_job(files_, {.resume = {.overwrite = true}});
  EXPECT_NEAR(summary.train[0].second, cpu.train[0].second, 1e-4);
}

TEST_F(CudaRun, LearnsByFastReductionAndBf16Messages) {
  const double plain = run({.ranks = 2}).train[0].second;
  for (const char* how : {"train.reduction=fast", "comm.compression=bf16"}) {
    EXPECT_NEAR(run({.ranks = 2, .overrides = {how}}).train[0].second, plain, 0.01) << how;
  }
}

TEST_F(CudaRun, BenchJoinsTheGpus) {
  std::string json;
  run_ranks(2, [&](comm::Communicator& comm) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto host = tensor::make_cpu_backend();
    SystemFs fs;
    SystemClock clock;
    const auto devices = emulated(comm.rank(), *host);
    const train::Surroundings around{.table = table,
                                     .backend = *host,
                                     .fs = fs,
                                     .clock = clock,
                                     .host = "here",
                                     .program_version = "test",
                                     .program_hash = "0",
                                     .devices = devices.get()};
    const train::RunConfig config = train::read_run_config(files_.config, {}, table, *host);
    const std::string mine = train::run_bench(around, config, {.steps = 3, .warmup = 1}, comm);
    if (comm.rank() == 0) json = mine;
  });
  EXPECT_NE(json.find("\"device\": \"cuda\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"between_gpus\": \"NCCL "), std::string::npos) << json;
}

TEST_F(CudaRun, GivesTheSameBitsAfterAResume) {
  const std::string whole = run({}).weights_hash;
  (void)run({.interrupt_at_step = 7});
  JobRun rest{.ranks = 2};
  rest.devices = emulated;
  EXPECT_EQ(run_job(files_, rest).weights_hash, whole);
}

TEST_F(CudaRun, TrainsInFp16) {
  const train::RunSummary plain = run({});
  const train::RunSummary half = run({.overrides = {"train.device=cuda", "train.precision=fp16"}});
  EXPECT_NE(half.weights_hash, plain.weights_hash);
  // Some steps make no update, until the scale fits.
  EXPECT_NEAR(half.train[0].second, plain.train[0].second, 0.2);
  const std::string events = read_file(files_.run_dir + "/events.jsonl");
  EXPECT_NE(events.find("\"loss_scale\""), std::string::npos);
}

TEST_F(CudaRun, SaysWhatIsMissingWhereAGpuIsDemanded) {
  emulator::set_devices({});
  try {
    (void)run({.overrides = {"train.device=cuda"}});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
    EXPECT_NE(std::string(error.what()).find("the driver shows this process no GPU"),
              std::string::npos)
        << error.what();
  }
  EXPECT_EQ(run({}).status, "finished") << "auto goes without";
}

}  // namespace
}  // namespace dlt::train_test

// SPDX-License-Identifier: Apache-2.0
// Whole runs whose leaves are on an emulated GPU.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/list_gpus.h"
#include "base/error.h"
#include "cuda_emulator/emulator.h"
#include "tensor/gpus.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

std::unique_ptr<train::Devices> emulated(int rank, tensor::Backend& host) {
  return std::make_unique<train::Devices>(
      host,
      std::make_unique<tensor::Gpus>(tensor::GpuPlugin{.interface = tensor::GpuPlugin::kInterface,
                                                       .make = cuda::make_cuda_backend,
                                                       .list = cuda::list_gpus}),
      train::LocalRank{.rank = rank, .size = 1});
}

class CudaRun : public testing::Test {
 protected:
  CudaRun() { emulator::reset(); }
  ~CudaRun() override {
    if (HasFailure()) std::cerr << "emulator seed " << emulator::seed() << "\n";
  }
  [[nodiscard]] train::RunSummary run(JobRun job) const {
    job.devices = emulated;
    job.resume.overwrite = true;
    return run_job(files_, job);
  }
  TempFolder folder_;
  JobFiles files_ = write_small_job(folder_, 47);
};

TEST_F(CudaRun, ComesToWhatTheCpuComesTo) {
  const train::RunSummary cpu = run_job(files_, {});
  const std::int64_t before = emulator::counts().kernels;
  const train::RunSummary gpu = run({.overrides = {"train.device=cuda"}});
  EXPECT_GT(emulator::counts().kernels, before);
  ASSERT_EQ(gpu.eval.size(), cpu.eval.size());
  for (std::size_t i = 0; i < cpu.eval.size(); ++i) {
    EXPECT_NEAR(gpu.eval[i].second, cpu.eval[i].second, 1e-4) << cpu.eval[i].first;
    EXPECT_NEAR(gpu.train[i].second, cpu.train[i].second, 1e-4) << cpu.train[i].first;
  }
}

TEST_F(CudaRun, GivesTheSameBitsOnAnyRanks) {
  const std::string one = run({}).weights_hash;
  EXPECT_EQ(run({}).weights_hash, one);
  for (const int ranks : {2, 3, 4}) EXPECT_EQ(run({.ranks = ranks}).weights_hash, one) << ranks;
}

TEST_F(CudaRun, GivesTheSameBitsAfterAResume) {
  const std::string whole = run({}).weights_hash;
  (void)run({.interrupt_at_step = 7});
  JobRun rest{.ranks = 2};
  rest.devices = emulated;
  EXPECT_EQ(run_job(files_, rest).weights_hash, whole);
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

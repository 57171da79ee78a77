// SPDX-License-Identifier: Apache-2.0
// A job that does not fit on its GPU says what needs how much, and what would fit.
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/list_gpus.h"
#include "base/text.h"
#include "cuda_emulator/emulator.h"
#include "tensor/gpus.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<train::Devices> emulated_devices(int rank, tensor::Backend& host) {
  return std::make_unique<train::Devices>(
      host,
      std::make_unique<tensor::Gpus>(tensor::GpuPlugin{.interface = tensor::GpuPlugin::kInterface,
                                                       .make = cuda::make_cuda_backend,
                                                       .list = cuda::list_gpus}),
      train::LocalRank{.rank = rank, .size = 1});
}

class DeviceRoomTest : public testing::Test {
 protected:
  DeviceRoomTest() {
    emulator::reset();
    std::ifstream in(files_.config);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    text.replace(text.find("units: 9"), 8, "units: 4096");
    test::write_file(files_.config, text);
  }
  ~DeviceRoomTest() override { emulator::reset(); }

  /// "69: message | hint" of a run of one leaf of 40 samples with this much memory.
  [[nodiscard]] std::string failure(std::int64_t memory_bytes, JobRun job = {}) const {
    if (memory_bytes > 0) emulator::set_device_memory(memory_bytes);
    job.devices = emulated_devices;
    job.resume.overwrite = true;
    job.overrides.insert(job.overrides.end(),
                         {"train.device=cuda", "data.global_batch_size=40", "train.epochs=1"});
    if (job.ranks == 1) job.overrides.emplace_back("train.leaves=1");
    std::string hint;
    const std::string text = test::error_of([&] {
      try {
        (void)run_job(files_, job);
      } catch (const Error& error) {
        hint = error.hint();
        throw;
      }
    });
    return text + " | " + hint;
  }
  /// What the run of one leaf says that it needs, in bytes.
  [[nodiscard]] std::int64_t needed() const {
    const std::string text = failure(1 << 20);
    const std::string words = "the job needs ";
    return static_cast<std::int64_t>(std::stod(text.substr(text.find(words) + words.size())) *
                                     (1 << 20));
  }
  TempFolder folder_;
  JobFiles files_ = write_small_job(folder_, 47);
};

constexpr std::int64_t kEnough = std::int64_t{64} << 20;

TEST_F(DeviceRoomTest, IsNoMatterWhereThereIsEnough) { EXPECT_EQ(failure(kEnough), "no error | "); }

TEST_F(DeviceRoomTest, ListsWhatNeedsHowMuch) {
  EXPECT_THAT(
      failure(1 << 20),
      AllOf(HasSubstr("69: GPU 0: Emulated H200"), HasSubstr("out of memory: the job needs "),
            HasSubstr("MiB are free"), HasSubstr("MiB  parameters, for training and evaluation\n"),
            HasSubstr("MiB  gradients\n"), HasSubstr("MiB  optimiser state\n"),
            HasSubstr("MiB  activations of training\n"), HasSubstr("MiB  inputs of two leaves\n"),
            HasSubstr("[40, 4096]")));
}

TEST_F(DeviceRoomTest, NamesADivisionThatThenFits) {
  const std::string text = failure(needed() - (256 << 10));
  const auto at = text.find("train.leaves: ");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_THAT(text, HasSubstr("train.memory_budget: "));
  const std::string leaves = text.substr(at + 14, text.find(' ', at + 14) - at - 14);
  JobRun job{.ranks = 1};
  job.devices = emulated_devices;
  job.overrides = {"train.device=cuda", "data.global_batch_size=40", "train.epochs=1",
                   cat("train.leaves=", leaves)};
  job.resume.overwrite = true;
  EXPECT_EQ(run_job(files_, job).status, "finished") << text;
}

TEST_F(DeviceRoomTest, IsDividedAmongRanksThatShareTheGpu) {
  const std::int64_t enough_for_one = needed() + (512 << 10);
  ASSERT_EQ(failure(enough_for_one), "no error | ");
  EXPECT_THAT(failure(enough_for_one, {.ranks = 2, .overrides = {"train.leaves=2"}}),
              AllOf(HasSubstr("are free for each of 2 ranks"),
                    HasSubstr("one rank for each GPU has all of its memory")));
}

TEST_F(DeviceRoomTest, IsExplainedWhenTheDriverHasLess) {
  const std::int64_t before = emulator::counts().allocations;
  ASSERT_EQ(failure(kEnough), "no error | ");
  const auto last = static_cast<int>(emulator::counts().allocations - before);
  std::string text;
  for (int after = last; after > 0; --after) {
    emulator::reset();
    emulator::fail_next("cudaMalloc", cudaErrorMemoryAllocation, after);
    text = failure(kEnough);
    if (text != "no error | ") break;
  }
  EXPECT_THAT(text, AllOf(HasSubstr("69: cuda: GPU 0: no room for "),
                          HasSubstr("by its plan the job needs "),
                          HasSubstr("MiB  activations of training")));
}

}  // namespace
}  // namespace dlt::train_test

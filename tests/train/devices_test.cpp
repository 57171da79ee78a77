// SPDX-License-Identifier: Apache-2.0
// Which GPU each rank takes, and what it says of one that it cannot use.
#include "train/devices.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/list_gpus.h"
#include "cuda_emulator/emulator.h"
#include "support/run_ranks.h"
#include "tensor/gpus.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A rank that sees GPUs [first, first + count) of the host; count 0: all.
struct Sight {
  int first = 0, count = 0;
};
thread_local Sight sight;

std::vector<tensor::GpuInfo> list_seen() {
  std::vector<tensor::GpuInfo> all = cuda::list_gpus();
  if (sight.count == 0) return all;
  std::vector<tensor::GpuInfo> seen(all.begin() + sight.first,
                                    all.begin() + sight.first + sight.count);
  for (std::size_t i = 0; i < seen.size(); ++i) seen[i].index = static_cast<int>(i);
  return seen;
}
std::unique_ptr<tensor::Backend> open_seen(int index) {
  return cuda::make_cuda_backend(sight.first + index);
}

std::unique_ptr<train::Devices> seeing(int rank, tensor::Backend& host) {
  return std::make_unique<train::Devices>(
      host,
      std::make_unique<tensor::Gpus>(tensor::GpuPlugin{
          .interface = tensor::GpuPlugin::kInterface, .make = open_seen, .list = list_seen}),
      train::LocalRank{.rank = rank, .size = 1});
}

class DevicesTest : public testing::Test {
 protected:
  DevicesTest() { emulator::reset(); }
  ~DevicesTest() override { emulator::reset(); }

  struct Placed {
    std::string placement;
    std::vector<std::string> warnings;
    int ranks_on_gpu = 0;
  };
  /// What Devices::place() comes to on each rank, with what it sees.
  [[nodiscard]] static std::vector<Placed> place(const std::vector<Sight>& sights) {
    train::RunConfig config;
    config.device = train::Device::cuda;
    std::vector<Placed> out(sights.size());
    run_ranks(std::vector<int>(sights.size(), 0), [&](comm::Communicator& comm) {
      const auto self = static_cast<std::size_t>(comm.rank());
      sight = sights[self];
      const auto host = tensor::make_cpu_backend();
      const auto devices = seeing(comm.rank(), *host);
      devices->place(config, comm, "node7");
      out[self] = {devices->placement(), devices->warnings(), devices->ranks_on_gpu()};
      sight = {};
    });
    return out;
  }
  [[nodiscard]] static std::string failure(const std::vector<Sight>& sights) {
    std::string hint;
    const std::string text = test::error_of([&] {
      try {
        (void)place(sights);
      } catch (const Error& error) {
        hint = error.hint();
        throw;
      }
    });
    return text + " | " + hint;
  }
};

TEST_F(DevicesTest, GiveEachRankAGpuOfItsOwn) {
  emulator::set_devices(std::vector<emulator::Device>(2));
  const std::vector<Placed> placed = place({{}, {}});
  EXPECT_THAT(placed[0].placement, HasSubstr("GPU 0: Emulated H200"));
  EXPECT_THAT(placed[1].placement, HasSubstr("GPU 1: Emulated H200"));
  EXPECT_THAT(placed[0].warnings, IsEmpty());
}

TEST_F(DevicesTest, KnowTheSameGpuUnderDifferentNumbers) {
  emulator::set_devices(std::vector<emulator::Device>(2));
  const std::vector<Placed> placed = place({{1, 1}, {0, 2}, {0, 1}});
  EXPECT_THAT(placed[0].placement, AllOf(HasSubstr("GPU 0:"), HasSubstr(", the only one it sees")));
  EXPECT_EQ(placed[0].ranks_on_gpu + placed[2].ranks_on_gpu, 3) << "one of them shares";
  ASSERT_THAT(placed[1].warnings, SizeIs(1));
  EXPECT_EQ(placed[0].warnings, placed[1].warnings);
}

TEST_F(DevicesTest, WarnOfTwoRanksOnOneGpu) {
  const std::vector<Placed> placed = place({{}, {}});
  EXPECT_THAT(placed[1].warnings,
              ElementsAre(HasSubstr("warning: ranks 0, 1 share one GPU: they take turns")));
  EXPECT_EQ(placed[0].ranks_on_gpu, 2);
}

TEST_F(DevicesTest, NameAGpuThatNoProcessMayUse) {
  emulator::set_devices({{}, {.compute_mode = cudaComputeModeProhibited}});
  EXPECT_THAT(failure({{}, {}}),
              AllOf(HasSubstr("69: rank 1 (node7): GPU 1: Emulated H200"),
                    HasSubstr("its compute mode lets no process use it"), HasSubstr("-c DEFAULT")));
}

TEST_F(DevicesTest, NameAGpuThatAnotherProcessHasForItself) {
  emulator::set_devices({{.compute_mode = cudaComputeModeExclusiveProcess}});
  emulator::fail_next("cudaSetDevice", cudaErrorDevicesUnavailable);
  EXPECT_THAT(failure({{}}),
              AllOf(HasSubstr("69: GPU 0: Emulated H200"), HasSubstr("cudaErrorDevicesUnavailable"),
                    HasSubstr("only one process at a time may use it")));
}

TEST_F(DevicesTest, NameAGpuWithoutRoomForAContext) {
  emulator::set_devices({{}, {.full = true}});
  EXPECT_THAT(failure({{}, {}}), AllOf(HasSubstr("69: rank 1 (node7): GPU 1: Emulated H200"),
                                       HasSubstr("cudaErrorMemoryAllocation"),
                                       HasSubstr("`nvidia-smi` says who uses it")));
}

TEST_F(DevicesTest, AreToldOfInTheRunsLog) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 12);
  JobRun job{.ranks = 2};
  job.devices = seeing;
  (void)run_job(files, job);
  std::ifstream log(files.run_dir + "/logs/rank-00.log");
  const std::string text{std::istreambuf_iterator<char>(log), {}};
  EXPECT_THAT(text, HasSubstr("warning: ranks 0, 1 share one GPU"));
}

TEST_F(DevicesTest, AreMeasuredInStepEvents) {
  emulator::set_devices({{.name = "NVIDIA H200"}});
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 12);
  JobRun job{.ranks = 1};
  job.devices = seeing;
  (void)run_job(files, job);
  std::ifstream events(files.run_dir + "/events.jsonl");
  std::string step;
  while (std::getline(events, step) && step.find("\"ev\": \"step\"") == std::string::npos) {
  }
  EXPECT_THAT(step, AllOf(HasSubstr("\"mfu\": "), HasSubstr("\"gpu_memory\": ")));
}

}  // namespace
}  // namespace dlt::train_test

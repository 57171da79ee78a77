// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "cuda_emulator/test_support.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator {
namespace {

class Kernels : public EmulatorTest {};

TEST_F(Kernels, EveryThreadOfEveryBlockRunsOnceWithItsIndices) {
  const unsigned blocks = 5, threads = 11, count = blocks * 6 * threads * 6;
  int* data = device_array<int>(count);
  toys::iota(nullptr, data, blocks, threads);
  std::vector<int> expected(count);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(to_host(data, count), expected);
}

TEST_F(Kernels, BarriersMakeSharedMemoryOrderly) {
  const unsigned blocks = 37;
  std::vector<float> values(blocks * 128);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 19);
  const float* on_device = to_device(values);
  float* sums = device_array<float>(blocks);
  toys::block_sums(nullptr, sums, on_device, blocks);
  const std::vector<float> got = to_host(sums, blocks);
  for (unsigned b = 0; b < blocks; ++b) {
    const auto first = values.begin() + b * 128;
    EXPECT_EQ(got[b], std::accumulate(first, first + 128, 0.0f) + first[127]) << b;
  }
}

TEST_F(Kernels, ShufflesSumAWarp) {
  int* sums = device_array<int>(96);
  toys::warp_sums(nullptr, sums, 96);
  const std::vector<int> got = to_host(sums, 96);
  for (int t = 0; t < 96; ++t)
    EXPECT_EQ(got[static_cast<std::size_t>(t)], 496 + 1024 * (t / 32)) << t;
}

TEST_F(Kernels, VotesCountEveryThread) {
  unsigned* ballots = device_array<unsigned>(64);
  int* counts = device_array<int>(64);
  toys::votes(nullptr, ballots, counts);
  EXPECT_EQ(to_host(counts, 64), std::vector<int>(64, 22));
  const std::vector<unsigned> got = to_host(ballots, 64);
  EXPECT_EQ(got[0], 0x49249249u);
  EXPECT_EQ(got[63], 0x92492492u);
}

TEST_F(Kernels, TheOrderOfThreadsAndBlocksFollowsTheSeed) {
  const auto orders = [](std::uint64_t seed) {
    set_seed(seed);
    unsigned* next = to_device(std::vector<unsigned>{0});
    unsigned* order = device_array<unsigned>(8 * 64);
    toys::order(nullptr, next, order, 8, 64);
    return to_host(order, 8 * 64);
  };
  const std::vector<unsigned> first = orders(1);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  EXPECT_EQ(orders(1), first);
  EXPECT_NE(orders(2), first);
}

TEST_F(Kernels, SharedMemoryHoldsNaNWhenABlockBegins) {
  for (int launch = 0; launch < 40; ++launch) {
    float* of_static = device_array<float>(4 * 64);
    float* of_dynamic = device_array<float>(4 * 64);
    toys::read_unwritten_shared(nullptr, of_static, of_dynamic, 4);
    for (const float x : to_host(of_static, 4 * 64)) ASSERT_TRUE(std::isnan(x)) << launch;
    for (const float x : to_host(of_dynamic, 4 * 64)) ASSERT_TRUE(std::isnan(x)) << launch;
  }
}

TEST_F(Kernels, ArgumentsAreThoseOfTheLaunch) {
  float* data = to_device(std::vector<float>{3.0f});
  float factor = 2.0f;
  const cudaStream_t stream = make_stream();
  toys::scale(stream, data, factor, 1);
  factor = 5.0f;
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(to_host(data, 1)[0], 6.0f);
}

TEST_F(Kernels, AnIllegalShapeIsRefusedWithTheKernelsName) {
  float* data = device_array<float>(1);
  try {
    toys::too_many_threads(nullptr, data);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("cudaErrorInvalidConfiguration"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("scale_kernel"), std::string::npos) << error.what();
  }
}

TEST_F(Kernels, PointersInStructsAreFollowed) {
  std::vector<float> values(32, 1.5f);
  const toys::Table table{{to_device(values), to_device(values)}, 2};
  float* out = device_array<float>(32);
  toys::gather(nullptr, out, table);
  EXPECT_EQ(to_host(out, 32), std::vector<float>(32, 3.0f));
}

class KernelsDeathTest : public EmulatorTest {
 protected:
  void SetUp() override {
    ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
    EmulatorTest::SetUp();
  }
};

TEST_F(KernelsDeathTest, AMissedBarrierIsReported) {
  toys::missed_barrier(nullptr);
  EXPECT_DEATH((void)cudaDeviceSynchronize(), "kernel .*missed_barrier_kernel.*__syncthreads");
}

TEST_F(KernelsDeathTest, LanesThatDivergeAtAShuffleAreReported) {
  toys::diverged_shuffle(nullptr, device_array<int>(32));
  EXPECT_DEATH((void)cudaDeviceSynchronize(),
               "diverged_shuffle_kernel.*while other lanes of its warp wait");
}

TEST_F(KernelsDeathTest, AShuffleAfterALaneEndedIsReported) {
  toys::late_lane(nullptr, device_array<int>(32));
  EXPECT_DEATH((void)cudaDeviceSynchronize(), "late_lane_kernel.*ended");
}

TEST_F(KernelsDeathTest, AWritePastAnAllocationIsFound) {
  float* data = device_array<float>(10);
  toys::past_the_end(nullptr, data, 12);
  EXPECT_DEATH((void)cudaDeviceSynchronize(), "past the end of an allocation of 40");
}

TEST_F(KernelsDeathTest, AWriteFarPastAnAllocationCrashes) {
  float* data = device_array<float>(64);
  toys::past_the_end(nullptr, data, 64);
  EXPECT_EXIT((void)cudaDeviceSynchronize(), faulted,
              fault_text("past_the_end_kernel.* touched device memory that is free or between"));
}

TEST_F(KernelsDeathTest, SharedMemoryEndsWhereTheLaunchSaid) {
  toys::past_dynamic(nullptr, device_array<float>(1));
  EXPECT_EXIT((void)cudaDeviceSynchronize(), faulted,
              fault_text("past_dynamic_kernel.* touched memory that is not a device.s"));
}

TEST_F(KernelsDeathTest, AHostPointerIsRefused) {
  std::vector<float> host(10);
  EXPECT_DEATH(toys::scale(nullptr, host.data(), 1.0f, 10), "scale_kernel.*host memory");
}

TEST_F(KernelsDeathTest, AFreedPointerInAStructIsFound) {
  std::vector<float> values(32, 1.5f);
  const toys::Table table{{to_device(values), to_device(values)}, 2};
  DLT_OK(cudaFree(const_cast<float*>(table.from[1])));
  EXPECT_DEATH(toys::gather(nullptr, device_array<float>(32), table),
               "gather_kernel.*has been freed");
}

TEST_F(KernelsDeathTest, MemoryOfAnotherDeviceIsRefused) {
  set_devices({{}, {}});
  DLT_OK(cudaSetDevice(1));
  float* other = device_array<float>(1);
  DLT_OK(cudaSetDevice(0));
  EXPECT_DEATH(toys::scale(nullptr, other, 1.0f, 1), "memory of device 1");
}

}  // namespace
}  // namespace dlt::emulator

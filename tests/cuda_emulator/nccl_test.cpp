// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/test_support.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator {
namespace {

constexpr ncclResult_t kNcclDone = ncclSuccess;

class Nccl : public EmulatorTest {
 protected:
  void SetUp() override {
    EmulatorTest::SetUp();
    set_devices(std::vector<Device>(4));
    ASSERT_EQ(ncclGetUniqueId(&id_), kNcclDone);
  }
  void TearDown() override {
    EmulatorTest::TearDown();
    std::filesystem::remove_all(id_.internal);  // where a test made no communicator of it
  }
  struct Rank {
    int rank;
    ncclComm_t comm;
    cudaStream_t stream;
  };
  /// Each rank a thread with a GPU and a communicator of its own.
  void run_ranks(int world_size, const std::function<void(const Rank&)>& body) {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < world_size; ++rank) {
      threads.emplace_back([&, rank] {
        ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
        Rank own{rank, nullptr, make_stream()};
        ASSERT_EQ(ncclCommInitRank(&own.comm, world_size, id_, rank), kNcclDone);
        body(own);
        ASSERT_EQ(ncclCommDestroy(own.comm), kNcclDone);
      });
    }
  }
  ncclUniqueId id_{};
};

std::vector<float> of_rank(int rank, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(100 * rank) + static_cast<float>(i);
  return values;
}

TEST_F(Nccl, AllReduceSumsInPlace) {
  run_ranks(3, [](const Rank& r) {
    float* data = to_device(of_rank(r.rank, 5));
    ASSERT_EQ(ncclAllReduce(data, data, 5, ncclFloat32, ncclSum, r.comm, r.stream), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(to_host(data, 5), (std::vector<float>{300, 303, 306, 309, 312}));
  });
}

TEST_F(Nccl, ReduceScatterThenAllGatherIsAllReduce) {
  run_ranks(4, [](const Rank& r) {
    const float* data = to_device(of_rank(r.rank, 8));
    float* part = device_array<float>(2);
    float* all = device_array<float>(8);
    ASSERT_EQ(ncclReduceScatter(data, part, 2, ncclFloat32, ncclMax, r.comm, r.stream), kNcclDone);
    ASSERT_EQ(ncclAllGather(part, all, 2, ncclFloat32, r.comm, r.stream), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(to_host(all, 8), of_rank(3, 8));
  });
}

TEST_F(Nccl, Bf16SumsAreRoundedAndAveragesDivide) {
  run_ranks(2, [](const Rank& r) {
    std::vector<std::uint16_t> values(1);
    store(values.data(), CUDA_R_16BF, 0, r.rank == 0 ? 256.0f : 1.0f);
    std::uint16_t* data = to_device(values);
    ASSERT_EQ(ncclAllReduce(data, data, 1, ncclBfloat16, ncclSum, r.comm, r.stream), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(load(to_host(data, 1).data(), CUDA_R_16BF, 0), 256.0f);
    float* mean = to_device(std::vector<float>{static_cast<float>(r.rank)});
    ASSERT_EQ(ncclAllReduce(mean, mean, 1, ncclFloat32, ncclAvg, r.comm, r.stream), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(to_host(mean, 1)[0], 0.5f);
  });
}

TEST_F(Nccl, BroadcastAndReduceHaveARoot) {
  run_ranks(3, [](const Rank& r) {
    float* data = to_device(of_rank(r.rank, 2));
    ASSERT_EQ(ncclBroadcast(data, data, 2, ncclFloat32, 1, r.comm, r.stream), kNcclDone);
    float* sum = device_array<float>(2);
    ASSERT_EQ(ncclReduce(data, sum, 2, ncclFloat32, ncclSum, 2, r.comm, r.stream), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(to_host(data, 2), of_rank(1, 2));
    if (r.rank == 2) {
      EXPECT_EQ(to_host(sum, 2), (std::vector<float>{300, 303}));
    }
  });
}

TEST_F(Nccl, GroupedMessagesGoAllWays) {
  run_ranks(4, [](const Rank& r) {
    const float* data = to_device(of_rank(r.rank, 4));
    float* got = device_array<float>(4);
    ASSERT_EQ(ncclGroupStart(), kNcclDone);
    ASSERT_EQ(ncclGroupStart(), kNcclDone);
    for (int peer = 0; peer < 4; ++peer) {
      ASSERT_EQ(ncclSend(data + peer, 1, ncclFloat32, peer, r.comm, r.stream), kNcclDone);
      ASSERT_EQ(ncclRecv(got + peer, 1, ncclFloat32, peer, r.comm, r.stream), kNcclDone);
    }
    ASSERT_EQ(ncclGroupEnd(), kNcclDone);
    ASSERT_EQ(ncclGroupEnd(), kNcclDone);
    DLT_OK(cudaStreamSynchronize(r.stream));
    const auto own = static_cast<float>(r.rank);
    EXPECT_EQ(to_host(got, 4), (std::vector<float>{own, 100 + own, 200 + own, 300 + own}));
  });
}

TEST_F(Nccl, FollowsTheStreamAndIsCaptured) {
  run_ranks(2, [](const Rank& r) {
    float* data = to_device(std::vector<float>{1.0f});
    ASSERT_EQ(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    toys::scale(r.stream, data, r.rank == 0 ? 2.0f : 3.0f, 1);
    ASSERT_EQ(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, r.comm, r.stream), kNcclDone);
    cudaGraph_t graph = nullptr;
    DLT_OK(cudaStreamEndCapture(r.stream, &graph));
    cudaGraphExec_t exec = nullptr;
    DLT_OK(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; ++i) DLT_OK(cudaGraphLaunch(exec, r.stream));
    DLT_OK(cudaStreamSynchronize(r.stream));
    EXPECT_EQ(to_host(data, 1)[0], 125.0f);
    DLT_OK(cudaGraphExecDestroy(exec));
  });
}

TEST_F(Nccl, CallsOnTwoStreamsKeepTheirOrder) {
  run_ranks(2, [](const Rank& r) {
    const cudaStream_t other = make_stream();
    float* a = to_device(std::vector<float>{1.0f});
    float* b = to_device(std::vector<float>{2.0f, 2.0f});
    ASSERT_EQ(ncclAllReduce(a, a, 1, ncclFloat32, ncclSum, r.comm, r.stream), kNcclDone);
    ASSERT_EQ(ncclAllReduce(b, b, 2, ncclFloat32, ncclSum, r.comm, other), kNcclDone);
    DLT_OK(cudaDeviceSynchronize());
    EXPECT_EQ(to_host(a, 1)[0] + to_host(b, 1)[0], 6.0f);
  });
}

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}
ncclResult_t state_of(ncclComm_t comm) {
  ncclResult_t state = ncclInternalError;
  EXPECT_EQ(ncclCommGetAsyncError(comm, &state), kNcclDone);
  return state;
}

TEST_F(Nccl, ANonBlockingInitIsInProgressUntilAllHaveCome) {
  ncclConfig_t config = non_blocking();
  ncclComm_t first = nullptr, second = nullptr;
  EXPECT_EQ(ncclCommInitRankConfig(&first, 2, id_, 0, &config), ncclInProgress);
  EXPECT_EQ(state_of(first), ncclInProgress);
  float* data = device_array<float>(1);
  EXPECT_EQ(ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, first, nullptr),
            ncclInvalidArgument);
  DLT_OK(cudaSetDevice(1));
  EXPECT_EQ(ncclCommInitRankConfig(&second, 2, id_, 1, &config), ncclInProgress);
  EXPECT_EQ(state_of(first), kNcclDone);
  EXPECT_EQ(state_of(second), kNcclDone);
  EXPECT_EQ(ncclCommAbort(first), kNcclDone);
  EXPECT_EQ(ncclCommAbort(second), kNcclDone);
}

TEST_F(Nccl, ARankThatNeverComesLeavesTheStreamWaitingUntilAnAbort) {
  ncclConfig_t config = non_blocking();
  ncclComm_t first = nullptr, second = nullptr;
  (void)ncclCommInitRankConfig(&first, 2, id_, 0, &config);
  DLT_OK(cudaSetDevice(1));
  (void)ncclCommInitRankConfig(&second, 2, id_, 1, &config);
  DLT_OK(cudaSetDevice(0));
  ASSERT_EQ(state_of(first), kNcclDone);
  const cudaStream_t stream = make_stream();
  const cudaEvent_t event = make_event();
  float* data = to_device(std::vector<float>{1.0f});
  const ncclResult_t started = ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, first, stream);
  EXPECT_TRUE(started == kNcclDone || started == ncclInProgress);
  DLT_OK(cudaEventRecord(event, stream));
  for (int asked = 0; asked < 20; ++asked) EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(ncclCommAbort(first), kNcclDone);
  DLT_OK(cudaEventSynchronize(event));
  EXPECT_EQ(ncclCommAbort(second), kNcclDone);
}

TEST_F(Nccl, TwoRanksOfOneHostCannotShareAGpu) {
  ncclConfig_t config = non_blocking();
  ncclComm_t first = nullptr, second = nullptr;
  (void)ncclCommInitRankConfig(&first, 2, id_, 0, &config);
  (void)ncclCommInitRankConfig(&second, 2, id_, 1, &config);
  EXPECT_EQ(state_of(first), ncclInvalidUsage);
  EXPECT_STREQ(ncclGetLastError(first), "Duplicate GPU detected");
  (void)ncclCommAbort(first);
  (void)ncclCommAbort(second);
  ASSERT_EQ(ncclGetUniqueId(&id_), kNcclDone);
  setenv("NCCL_HOSTID", "one", 1);
  (void)ncclCommInitRankConfig(&first, 2, id_, 0, &config);
  setenv("NCCL_HOSTID", "two", 1);
  (void)ncclCommInitRankConfig(&second, 2, id_, 1, &config);
  unsetenv("NCCL_HOSTID");
  EXPECT_EQ(state_of(first), kNcclDone);
  (void)ncclCommAbort(first);
  (void)ncclCommAbort(second);
}

TEST_F(Nccl, ErrorsOfPeersAreWhatTestsSay) {
  ncclComm_t comm = nullptr;
  ASSERT_EQ(ncclCommInitRank(&comm, 1, id_, 0), kNcclDone);
  set_nccl_async_error(0, ncclRemoteError);
  EXPECT_EQ(state_of(comm), ncclRemoteError);
  EXPECT_EQ(ncclCommAbort(comm), kNcclDone);
}

TEST_F(Nccl, RanksMayBeProcesses) {
  const pid_t child = fork();
  const int rank = child == 0 ? 1 : 0;
  // The parent's emulator is idle: nobody holds its lock in the child.
  const auto sum = [&] {
    (void)cudaSetDevice(rank);
    const cudaStream_t stream = make_stream();
    ncclComm_t comm = nullptr;
    (void)ncclCommInitRank(&comm, 2, id_, rank);
    float* data = to_device(of_rank(rank, 3));
    (void)ncclAllReduce(data, data, 3, ncclFloat32, ncclSum, comm, stream);
    (void)cudaStreamSynchronize(stream);
    (void)ncclCommDestroy(comm);
    return to_host(data, 3);
  };
  const std::vector<float> expected{100, 102, 104};
  if (child == 0) _exit(sum() == expected ? 0 : 1);
  EXPECT_EQ(sum(), expected);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(Nccl, CallsThatDoNotMatchAreReported) {
  ::testing::GTEST_FLAG(death_test_style) = "fast";  // the child's folder is this process's
  EXPECT_DEATH(run_ranks(2,
                         [](const Rank& r) {
                           float* data = device_array<float>(4);
                           const std::size_t count = r.rank == 0 ? 4 : 3;
                           (void)ncclAllReduce(data, data, count, ncclFloat32, ncclSum, r.comm,
                                               r.stream);
                           (void)cudaStreamSynchronize(r.stream);
                         }),
               "ncclAllReduce of 4 .* where rank . calls ncclAllReduce of 3|of 3 .* calls "
               "ncclAllReduce of 4");
}

}  // namespace
}  // namespace dlt::emulator

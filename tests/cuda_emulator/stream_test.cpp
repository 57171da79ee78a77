// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <thread>
#include <vector>

#include "cuda_emulator/test_support.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator {
namespace {

class Streams : public EmulatorTest {};

TEST_F(Streams, WorkRunsWhenSomebodyWaits) {
  std::atomic<int> calls = 0;
  const cudaStream_t stream = make_stream();
  const auto count = [](void* data) { ++*static_cast<std::atomic<int>*>(data); };
  DLT_OK(cudaLaunchHostFunc(stream, count, &calls));
  EXPECT_EQ(calls, 0);
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(calls, 1);
}

TEST_F(Streams, AHostFunctionMayNotCallTheRuntime) {
  const cudaStream_t stream = make_stream();
  cudaError_t error = cudaSuccess;
  const auto call = [](void* data) { *static_cast<cudaError_t*>(data) = cudaDeviceSynchronize(); };
  DLT_OK(cudaLaunchHostFunc(stream, call, &error));
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(error, cudaErrorNotPermitted);
}

/// One stream writes 2, the other multiplies by 10. How often each order is seen in 64 tries.
int times_in_order(bool with_event) {
  int in_order = 0;
  for (int trial = 0; trial < 64; ++trial) {
    float* data = to_device(std::vector<float>{1.0f});
    const cudaStream_t first = make_stream(), second = make_stream();
    toys::scale(first, data, 2.0f, 1);
    toys::scale(first, data, 0.0f, 1);
    if (with_event) {
      const cudaEvent_t event = make_event();
      EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
      EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
    }
    EXPECT_EQ(cudaMemsetAsync(data, 0x40, 4, second), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    in_order += to_host(data, 1)[0] > 3.0f ? 1 : 0;
  }
  return in_order;
}

TEST_F(Streams, AMissingWaitShowsAtTimes) {
  const int in_order = times_in_order(false);
  EXPECT_GT(in_order, 4);
  EXPECT_LT(in_order, 60);
}

TEST_F(Streams, AnEventOrdersTwoStreams) { EXPECT_EQ(times_in_order(true), 64); }

TEST_F(Streams, TheLegacyStreamWaitsForBlockingOnesAndTheyForIt) {
  for (int trial = 0; trial < 32; ++trial) {
    float* data = to_device(std::vector<float>{1.0f});
    cudaStream_t stream = nullptr;
    DLT_OK(cudaStreamCreate(&stream));
    toys::scale(stream, data, 0.0f, 1);
    DLT_OK(cudaMemsetAsync(data, 0x40, 4, nullptr));
    toys::scale(stream, data, 2.0f, 1);
    DLT_OK(cudaStreamSynchronize(stream));
    ASSERT_GT(to_host(data, 1)[0], 6.0f);
  }
}

TEST_F(Streams, AQueryAnswersNotReadyThenDone) {
  const cudaStream_t stream = make_stream();
  float* data = to_device(std::vector<float>(1000, 1.0f));
  const cudaEvent_t event = make_event();
  DLT_OK(cudaEventQuery(event));
  for (int i = 0; i < 50; ++i) toys::scale(stream, data, 1.0f, 1000);
  DLT_OK(cudaEventRecord(event, stream));
  cudaError_t state = cudaErrorNotReady;
  for (int asked = 0; asked < 1000 && state == cudaErrorNotReady; ++asked)
    state = cudaEventQuery(event);
  EXPECT_EQ(state, cudaSuccess);
}

TEST_F(Streams, AWaiterGoesOnWhenAnotherThreadAddsTheWork) {
  const cudaStream_t stream = make_stream();
  const cudaEvent_t event = make_event();
  float* data = to_device(std::vector<float>{1.0f});
  std::jthread other([&] {
    toys::scale(stream, data, 3.0f, 1);
    EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
    EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  });
  other.join();
  EXPECT_EQ(to_host(data, 1)[0], 3.0f);
}

TEST_F(Streams, ALongQueueRunsByItself) {
  const cudaStream_t stream = make_stream();
  std::atomic<int> calls = 0;
  const auto count = [](void* data) { ++*static_cast<std::atomic<int>*>(data); };
  for (int i = 0; i < 5000; ++i) DLT_OK(cudaLaunchHostFunc(stream, count, &calls));
  EXPECT_GT(calls, 0);
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(calls, 5000);
}

TEST_F(Streams, ADestroyedStreamIsRefusedButItsWorkIsDone) {
  const cudaStream_t stream = make_stream();
  float* data = to_device(std::vector<float>{2.0f});
  toys::scale(stream, data, 2.0f, 1);
  DLT_OK(cudaStreamDestroy(stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  DLT_OK(cudaDeviceSynchronize());
  EXPECT_EQ(to_host(data, 1)[0], 4.0f);
}

TEST_F(Streams, EventsTellTheTimeBetweenThem) {
  cudaEvent_t from = nullptr, to = nullptr;
  DLT_OK(cudaEventCreate(&from));
  DLT_OK(cudaEventCreate(&to));
  float ms = -1.0f;
  EXPECT_EQ(cudaEventElapsedTime(&ms, from, to), cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = make_stream();
  DLT_OK(cudaEventRecord(from, stream));
  DLT_OK(cudaEventRecord(to, stream));
  EXPECT_EQ(cudaEventElapsedTime(&ms, from, to), cudaErrorNotReady);
  DLT_OK(cudaEventSynchronize(to));
  DLT_OK(cudaEventElapsedTime(&ms, from, to));
  EXPECT_GE(ms, 0.0f);
}

}  // namespace
}  // namespace dlt::emulator

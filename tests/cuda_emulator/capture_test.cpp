// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <thread>
#include <vector>

#include "cuda_emulator/test_support.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator {
namespace {

class Captures : public EmulatorTest {
 protected:
  void SetUp() override {
    EmulatorTest::SetUp();
    stream_ = make_stream();
    data_ = to_device(std::vector<float>{1.0f});
  }
  void begin() {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  }
  cudaError_t end() { return cudaStreamEndCapture(stream_, &graph_); }
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  float* data_ = nullptr;
};

TEST_F(Captures, AGraphRunsAtEachLaunchAndNotBefore) {
  begin();
  float factor = 2.0f;
  toys::scale(stream_, data_, factor, 1);
  toys::scale(stream_, data_, 1.5f, 1);
  factor = 100.0f;
  DLT_OK(end());
  EXPECT_EQ(to_host(data_, 1)[0], 1.0f);
  std::size_t count = 0;
  DLT_OK(cudaGraphGetNodes(graph_, nullptr, &count));
  EXPECT_EQ(count, 2u);
  cudaGraphExec_t exec = nullptr;
  DLT_OK(cudaGraphInstantiate(&exec, graph_, 0));
  DLT_OK(cudaGraphDestroy(graph_));
  for (int i = 0; i < 3; ++i) DLT_OK(cudaGraphLaunch(exec, stream_));
  DLT_OK(cudaGraphExecDestroy(exec));
  DLT_OK(cudaStreamSynchronize(stream_));
  EXPECT_EQ(to_host(data_, 1)[0], 27.0f);
}

TEST_F(Captures, EventsDrawOtherStreamsIn) {
  const cudaStream_t other = make_stream();
  const cudaEvent_t fork = make_event(), join = make_event();
  for (int trial = 0; trial < 16; ++trial) {
    DLT_OK(cudaMemset(data_, 0x3f, 4));
    DLT_OK(cudaDeviceSynchronize());
    begin();
    toys::scale(stream_, data_, 0.0f, 1);
    DLT_OK(cudaEventRecord(fork, stream_));
    DLT_OK(cudaStreamWaitEvent(other, fork, 0));
    DLT_OK(cudaMemsetAsync(data_, 0x40, 4, other));
    cudaStreamCaptureStatus status{};
    DLT_OK(cudaStreamIsCapturing(other, &status));
    EXPECT_EQ(status, cudaStreamCaptureStatusActive);
    DLT_OK(cudaEventRecord(join, other));
    DLT_OK(cudaStreamWaitEvent(stream_, join, 0));
    toys::scale(stream_, data_, 2.0f, 1);
    DLT_OK(end());
    DLT_OK(cudaStreamIsCapturing(other, &status));
    EXPECT_EQ(status, cudaStreamCaptureStatusNone);
    cudaGraphExec_t exec = nullptr;
    DLT_OK(cudaGraphInstantiate(&exec, graph_, 0));
    DLT_OK(cudaGraphLaunch(exec, stream_));
    DLT_OK(cudaStreamSynchronize(stream_));
    ASSERT_GT(to_host(data_, 1)[0], 6.0f);
  }
}

TEST_F(Captures, WorkThatIsNotJoinedIsAnError) {
  const cudaStream_t other = make_stream();
  const cudaEvent_t fork = make_event();
  begin();
  toys::scale(stream_, data_, 1.0f, 1);
  DLT_OK(cudaEventRecord(fork, stream_));
  DLT_OK(cudaStreamWaitEvent(other, fork, 0));
  toys::scale(other, data_, 1.0f, 1);
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph_, nullptr);
}

TEST_F(Captures, AnEventFromOutsideIsAnError) {
  const cudaStream_t other = make_stream();
  const cudaEvent_t event = make_event();
  DLT_OK(cudaEventRecord(event, other));
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(Captures, WaitsAndAllocationsAreRefusedAndEndIt) {
  void* memory = nullptr;
  float host = 0;
  const cudaEvent_t event = make_event();
  const std::vector<std::function<cudaError_t()>> calls{
      [&] { return cudaMalloc(&memory, 4); },
      [&] { return cudaFree(data_); },
      [&] { return cudaStreamSynchronize(stream_); },
      [&] { return cudaStreamQuery(stream_); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaEventQuery(event); },
      [&] { return cudaMemcpy(&host, data_, 4, cudaMemcpyDeviceToHost); },
      [&] { return cudaMemcpyAsync(&host, data_, 4, cudaMemcpyDeviceToHost, stream_); },
  };
  for (const auto& call : calls) {
    begin();
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(cudaMemsetAsync(data_, 0, 4, stream_), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  }
}

TEST_F(Captures, ACapturedEventCannotBeAsked) {
  const cudaEvent_t event = make_event();
  begin();
  DLT_OK(cudaEventRecord(event, stream_));
  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
  DLT_OK(end());
}

TEST_F(Captures, OfAThreadLeavesOtherThreadsAlone) {
  begin();
  std::jthread([&] {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  }).join();
  DLT_OK(end());
}

TEST_F(Captures, OfAllThreadsForbidsThemToo) {
  DLT_OK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
  std::jthread([&] {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
  }).join();
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(Captures, TheLegacyStreamCannotJoinABlockingOnes) {
  cudaStream_t blocking = nullptr;
  DLT_OK(cudaStreamCreate(&blocking));
  DLT_OK(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeThreadLocal));
  EXPECT_EQ(cudaMemsetAsync(data_, 0, 4, nullptr), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(cudaStreamEndCapture(blocking, &graph_), cudaErrorStreamCaptureInvalidated);
}

TEST_F(Captures, PinnedMemoryIsReadAtEachLaunch) {
  void* memory = nullptr;
  DLT_OK(cudaMallocHost(&memory, 4));
  auto* pinned = static_cast<float*>(memory);
  begin();
  DLT_OK(cudaMemcpyAsync(data_, pinned, 4, cudaMemcpyHostToDevice, stream_));
  DLT_OK(end());
  cudaGraphExec_t exec = nullptr;
  DLT_OK(cudaGraphInstantiate(&exec, graph_, 0));
  for (const float value : {3.0f, 5.0f}) {
    *pinned = value;
    DLT_OK(cudaGraphLaunch(exec, stream_));
    DLT_OK(cudaStreamSynchronize(stream_));
    EXPECT_EQ(to_host(data_, 1)[0], value);
  }
}

}  // namespace
}  // namespace dlt::emulator

// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda_emulator/test_support.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator {
namespace {

class Memory : public EmulatorTest {};

TEST_F(Memory, BeginsAsNaN) {
  for (const float x : to_host(device_array<float>(100), 100)) EXPECT_TRUE(std::isnan(x));
}

TEST_F(Memory, RunsOutAtTheSetTotal) {
  set_device_memory(1 << 20);
  void* data = nullptr;
  DLT_OK(cudaMalloc(&data, 600 << 10));
  std::size_t free = 0, total = 0;
  DLT_OK(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(total, std::size_t{1} << 20);
  EXPECT_EQ(free, std::size_t{424} << 10);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 600 << 10), cudaErrorMemoryAllocation);
  DLT_OK(cudaFree(data));
  DLT_OK(cudaMalloc(&more, 600 << 10));
}

TEST_F(Memory, ASecondFreeIsAnError) {
  float* data = device_array<float>(1);
  DLT_OK(cudaFree(data));
  EXPECT_EQ(cudaFree(data), cudaErrorInvalidValue);
}

TEST_F(Memory, CopiesCheckDirectionAndBounds) {
  float* data = device_array<float>(10);
  std::vector<float> host(20);
  EXPECT_EQ(cudaMemcpy(data, host.data(), 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(data, host.data(), 40, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), data, 44, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), data + 5, 24, cudaMemcpyDefault), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Memory, PageableMemoryIsReadAtTheCall) {
  float* data = device_array<float>(1);
  float host = 1.0f;
  const cudaStream_t stream = make_stream();
  DLT_OK(cudaMemcpyAsync(data, &host, sizeof host, cudaMemcpyHostToDevice, stream));
  host = 2.0f;
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(to_host(data, 1)[0], 1.0f);
}

TEST_F(Memory, PinnedMemoryIsReadWhenTheWorkRuns) {
  float* data = device_array<float>(1);
  void* memory = nullptr;
  DLT_OK(cudaMallocHost(&memory, sizeof(float)));
  auto* pinned = static_cast<float*>(memory);
  *pinned = 1.0f;
  const cudaStream_t stream = make_stream();
  DLT_OK(cudaMemcpyAsync(data, pinned, sizeof(float), cudaMemcpyHostToDevice, stream));
  *pinned = 2.0f;  // the mistake that this shows
  DLT_OK(cudaStreamSynchronize(stream));
  EXPECT_EQ(to_host(data, 1)[0], 2.0f);
  DLT_OK(cudaFreeHost(memory));
}

TEST_F(Memory, RegisteredMemoryIsPinned) {
  std::vector<float> host(8, 1.0f);
  float* data = device_array<float>(8);
  DLT_OK(cudaHostRegister(host.data(), 32, cudaHostRegisterDefault));
  EXPECT_EQ(cudaHostRegister(host.data(), 32, 0), cudaErrorHostMemoryAlreadyRegistered);
  cudaPointerAttributes attributes{};
  DLT_OK(cudaPointerGetAttributes(&attributes, host.data() + 1));
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  const cudaStream_t stream = make_stream();
  DLT_OK(cudaMemcpyAsync(data, host.data(), 32, cudaMemcpyHostToDevice, stream));
  host[3] = 7.0f;
  DLT_OK(cudaHostUnregister(host.data()));  // waits
  EXPECT_EQ(to_host(data, 8)[3], 7.0f);
  EXPECT_EQ(cudaHostUnregister(host.data()), cudaErrorHostMemoryNotRegistered);
  DLT_OK(cudaPointerGetAttributes(&attributes, host.data()));
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  DLT_OK(cudaPointerGetAttributes(&attributes, data + 2));
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
}

TEST_F(Memory, RectanglesAreCopiedRowByRow) {
  const float* from = to_device(std::vector<float>{1, 2, 3, 4, 5, 6});
  std::vector<float> to(4);
  DLT_OK(cudaMemcpy2D(to.data(), 8, from, 12, 8, 2, cudaMemcpyDeviceToHost));
  EXPECT_EQ(to, (std::vector<float>{1, 2, 4, 5}));
}

TEST_F(Memory, NoDeviceNoMemory) {
  set_devices({});
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, 1), cudaErrorNoDevice);
}

TEST_F(Memory, DevicesAreAsSet) {
  set_devices(
      {{.name = "One"}, {.name = "Two", .major = 8, .minor = 6, .pci_bus_id = "0000:C1:00.0"}});
  cudaDeviceProp properties{};
  DLT_OK(cudaGetDeviceProperties(&properties, 1));
  EXPECT_STREQ(properties.name, "Two");
  EXPECT_EQ(properties.major * 10 + properties.minor, 86);
  EXPECT_EQ(properties.pciBusID, 0xc1);
  int device = -1;
  DLT_OK(cudaDeviceGetByPCIBusId(&device, "0000:C1:00.0"));
  EXPECT_EQ(device, 1);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
}

TEST_F(Memory, FailuresComeWhenATestAsks) {
  fail_next("cudaMalloc", cudaErrorMemoryAllocation, 1);
  void* data = nullptr;
  DLT_OK(cudaMalloc(&data, 4));
  EXPECT_EQ(cudaMalloc(&data, 4), cudaErrorMemoryAllocation);
  DLT_OK(cudaMalloc(&data, 4));
}

TEST_F(Memory, AFaultOfTheDeviceStays) {
  float* data = device_array<float>(1);
  const cudaStream_t stream = make_stream();
  fail_next_work(cudaErrorIllegalAddress);
  DLT_OK(cudaMemsetAsync(data, 0, 4, stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemsetAsync(data, 0, 4, stream), cudaErrorIllegalAddress);
}

TEST_F(Memory, TheHostCannotTouchIt) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const float* data = to_device(std::vector<float>{1.0f});
  volatile float got = 0;
  EXPECT_EXIT(got = data[0], faulted, fault_text("the host touched memory of device 0"));
  (void)got;
}

}  // namespace
}  // namespace dlt::emulator

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "cuda_emulator/emulator.h"

namespace dlt::emulator {

/// A fresh machine for each test; prints the seed of the order when one fails.
class EmulatorTest : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override {
    if (HasFailure())
      std::fprintf(stderr, "DLT_EMULATOR_SEED=%s\n", std::to_string(seed()).c_str());
    reset();
  }
};

#define DLT_OK(call) ASSERT_EQ(call, cudaSuccess)

/// Device memory with values in it.
template <typename T>
T* to_device(const std::vector<T>& values) {
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, values.size() * sizeof(T)), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
            cudaSuccess);
  return static_cast<T*>(data);
}
template <typename T>
T* device_array(std::size_t count) {
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, count * sizeof(T)), cudaSuccess);
  return static_cast<T*>(data);
}
template <typename T>
std::vector<T> to_host(const T* data, std::size_t count) {
  std::vector<T> values(count);
  EXPECT_EQ(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return values;
}
/// Of EXPECT_EXIT: the process ended by touching what is not there, and said so.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline bool faulted(int status) { return status != 0; }
inline std::string fault_text(const char*) { return ""; }
#else
inline bool faulted(int status) { return ::testing::KilledBySignal(SIGSEGV)(status); }
inline std::string fault_text(const char* text) { return text; }
#endif

inline cudaStream_t make_stream() {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}
inline cudaEvent_t make_event() {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  return event;
}

}  // namespace dlt::emulator

// SPDX-License-Identifier: Apache-2.0
// With a stand-in for NVML: tests/cuda_emulator/driver_stub.c.
#include "tensor/gpu_sensors.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace dlt::tensor {
namespace {

constexpr const char* kUuid = "GPU-00000001-0000-0000-0000-000000000000";

TEST(GpuSensors, TellWhatTheLibraryTells) {
  const GpuReading reading = GpuSensors(kUuid, DLT_TEST_NVML).read();
  EXPECT_DOUBLE_EQ(reading.power_w.value(), 100);
  EXPECT_DOUBLE_EQ(reading.utilization.value(), 0.5);
}

TEST(GpuSensors, TellNothingWithoutTheLibrary) {
  const GpuReading reading = GpuSensors(kUuid, "libdltrain_no_such_library.so.1").read();
  EXPECT_FALSE(reading.power_w.has_value());
  EXPECT_FALSE(reading.utilization.has_value());
}

TEST(GpuSensors, TellNothingOfAGpuThatTheLibraryDoesNotKnow) {
  EXPECT_FALSE(GpuSensors("another", DLT_TEST_NVML).read().power_w.has_value());
}

TEST(GpuSensors, TellNothingWhereTheLibraryFails) {
  ASSERT_EQ(::setenv("DLT_EMULATOR_NVML_FAILS", "1", 1), 0);
  const GpuReading reading = GpuSensors(kUuid, DLT_TEST_NVML).read();
  ASSERT_EQ(::unsetenv("DLT_EMULATOR_NVML_FAILS"), 0);
  EXPECT_FALSE(reading.power_w.has_value());
}

}  // namespace
}  // namespace dlt::tensor

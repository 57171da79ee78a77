// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpu_peak.h"

#include <gtest/gtest.h>

namespace dlt::tensor {
namespace {

TEST(GpuPeak, KnowsModelsByTheDriversName) {
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA A100-SXM4-80GB", PeakKind::bits16).value(), 312e12);
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA H200", PeakKind::f32).value(), 67e12);
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA H100 80GB HBM3", PeakKind::tf32).value(), 494.5e12);
}

TEST(GpuPeak, TellsModelsApartWhoseNamesBeginAlike) {
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA A10", PeakKind::bits16).value(), 125e12);
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA L40S", PeakKind::f32).value(), 91.6e12);
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA L40", PeakKind::f32).value(), 90.5e12);
  EXPECT_DOUBLE_EQ(peak_flops("NVIDIA H200 NVL", PeakKind::f32).value(), 60e12);
}

TEST(GpuPeak, SaysNothingOfOthersAndOfParts) {
  EXPECT_FALSE(peak_flops("Emulated H200", PeakKind::f32).has_value());
  EXPECT_FALSE(peak_flops("NVIDIA A1000", PeakKind::f32).has_value());
  EXPECT_FALSE(peak_flops("NVIDIA H200 MIG 1g.18gb", PeakKind::f32).has_value());
}

}  // namespace
}  // namespace dlt::tensor

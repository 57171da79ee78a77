// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "observe/events.h"
#include "tensor/backend.h"
#include "tensor/gpu_sensors.h"
#include "tensor/gpus.h"

namespace dlt::train {

struct GpuMeterOptions {
  const tensor::GpuInfo& gpu;
  tensor::Backend& device;
  std::string precision;        // train.precision
  double flops_per_sample = 0;  // by the plan
  double num_gpus = 1;          // of all ranks
  const char* library = "libnvidia-ml.so.1";
};

/// Numbers about this rank's GPU for step events: mfu, gpu_memory, gpu_power_w, gpu_util; those
/// that are not known are left out.
class GpuMeter {
 public:
  explicit GpuMeter(const GpuMeterOptions& options);
  /// samples_per_s: of all ranks. For steps that are logged: asks the driver.
  [[nodiscard]] observe::Fields read(double samples_per_s) const;

 private:
  tensor::Backend* device_;
  tensor::GpuSensors sensors_;
  std::optional<double> samples_per_s_at_peak_;
};

}  // namespace dlt::train

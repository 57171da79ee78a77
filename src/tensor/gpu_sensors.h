// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace dlt::tensor {

struct GpuReading {
  std::optional<double> power_w;      // of the whole board
  std::optional<double> utilization;  // 0 to 1: share of the last moments with a kernel running
};

/// What the driver's NVML library tells about one GPU. Without the library, or for a GPU that it
/// does not know, readings are empty.
/// source  NVIDIA Management Library, API reference: nvml.h
class GpuSensors {
 public:
  /// uuid: "GPU-8-4-4-4-12".
  explicit GpuSensors(const std::string& uuid, const char* library = "libnvidia-ml.so.1");
  ~GpuSensors();
  GpuSensors(const GpuSensors&) = delete;
  GpuSensors& operator=(const GpuSensors&) = delete;
  /// Asks the driver: some microseconds.
  [[nodiscard]] GpuReading read() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;  // null: there is none
};

}  // namespace dlt::tensor

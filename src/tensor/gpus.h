// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/backend.h"

namespace dlt {
class Plugin;
}

namespace dlt::tensor {

/// A GPU that this process may use (CUDA_VISIBLE_DEVICES counts).
struct GpuInfo {
  int index = 0;            // among those this process sees
  std::string name;         // "NVIDIA H200"
  std::string uuid;         // "GPU-8-4-4-4-12"
  std::string pci;          // "0000:3b:00.0"
  int architecture = 0;     // 90 for compute capability 9.0
  int numa_node = -1;       // of the host; -1: not known
  bool exclusive = false;   // one process at a time may use it
  bool prohibited = false;  // no process may
  std::int64_t memory_bytes = 0;
};

/// One line for people: "0: NVIDIA H200, sm_90, 139.8 GiB, 0000:3b:00.0, NUMA node 1".
[[nodiscard]] std::string describe(const GpuInfo& gpu);

/// What the plug-in library fills in.
struct GpuPlugin {
  /// Changes with everything that passes between program and library.
  static constexpr int kInterface = 1;
  int interface = 0;
  std::unique_ptr<Backend> (*make)(int index) = nullptr;
  std::vector<GpuInfo> (*list)() = nullptr;
};

/// The GPUs of this process, by way of the plug-in library libdltrain_cuda.so.
class Gpus {
 public:
  /// Opens the library and asks the driver. A library, driver or GPU that is not there is no error.
  Gpus();
  /// The same with what a library would fill in, for tests.
  explicit Gpus(const GpuPlugin& plugin);
  ~Gpus();

  /// Why no GPU can be used: "" if one can.
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  [[nodiscard]] const std::vector<GpuInfo>& list() const { return list_; }
  /// errors  Error(Exit::unavailable) if it cannot be used
  [[nodiscard]] std::unique_ptr<Backend> open(int index) const;

 private:
  void ask();

  std::unique_ptr<Plugin> library_;  // before the rest, which comes from it
  GpuPlugin plugin_;
  std::string why_not_;
  std::vector<GpuInfo> list_;
};

}  // namespace dlt::tensor

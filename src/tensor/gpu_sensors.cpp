// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpu_sensors.h"

#include <dlfcn.h>

namespace dlt::tensor {
namespace {

struct CloseLibrary {
  void operator()(void* library) const { (void)::dlclose(library); }
};

/// nvmlUtilization_t
struct Utilization {
  unsigned int gpu = 0;     // percent
  unsigned int memory = 0;  // percent
};

}  // namespace

struct GpuSensors::Library {
  static constexpr int kSuccess = 0;  // NVML_SUCCESS

  template <typename Function>
  [[nodiscard]] bool find(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(::dlsym(handle.get(), name));
    return function != nullptr;
  }
  /// NVML is started and knows the GPU.
  [[nodiscard]] bool open(const std::string& uuid, const char* path) {
    handle.reset(::dlopen(path, RTLD_NOW | RTLD_LOCAL));
    int (*init)() = nullptr;
    int (*by_uuid)(const char*, void**) = nullptr;
    if (handle == nullptr || !find(init, "nvmlInit_v2") || !find(shutdown, "nvmlShutdown") ||
        !find(by_uuid, "nvmlDeviceGetHandleByUUID") || !find(power, "nvmlDeviceGetPowerUsage") ||
        !find(utilization, "nvmlDeviceGetUtilizationRates")) {
      return false;
    }
    started = init() == kSuccess;
    return started && by_uuid(uuid.c_str(), &device) == kSuccess;
  }
  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (started) (void)shutdown();
  }

  std::unique_ptr<void, CloseLibrary> handle;
  bool started = false;
  void* device = nullptr;  // nvmlDevice_t
  int (*shutdown)() = nullptr;
  int (*power)(void*, unsigned int* milliwatts) = nullptr;
  int (*utilization)(void*, Utilization*) = nullptr;
};

GpuSensors::GpuSensors(const std::string& uuid, const char* library)
    : library_(std::make_unique<Library>()) {
  if (!library_->open(uuid, library)) library_.reset();
}

GpuSensors::~GpuSensors() = default;

GpuReading GpuSensors::read() const {
  GpuReading out;
  if (library_ == nullptr) return out;
  unsigned int milliwatts = 0;
  if (library_->power(library_->device, &milliwatts) == Library::kSuccess) {
    out.power_w = milliwatts * 1e-3;
  }
  Utilization rates;
  if (library_->utilization(library_->device, &rates) == Library::kSuccess) {
    out.utilization = rates.gpu * 1e-2;
  }
  return out;
}

}  // namespace dlt::tensor

// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpus.h"

#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "base/plugin.h"
#include "base/text.h"

namespace dlt::tensor {

std::string describe(const GpuInfo& gpu) {
  std::ostringstream out;
  out << gpu.index << ": " << gpu.name << ", sm_" << gpu.architecture << ", " << std::fixed
      << std::setprecision(1) << static_cast<double>(gpu.memory_bytes) / (1 << 30) << " GiB, "
      << gpu.pci;
  if (gpu.numa_node >= 0) out << ", NUMA node " << gpu.numa_node;
  if (gpu.exclusive) out << ", one process at a time";
  if (gpu.prohibited) out << ", no processes allowed";
  return out.str();
}

Gpus::Gpus() {
  // Without a driver there is no GPU, and opening a gigabyte of libraries can be left out.
  if (!library_exists("libcuda.so.1")) {
    why_not_ = "no NVIDIA driver (libcuda.so.1 is not there)";
    return;
  }
  try {
    library_ = std::make_unique<Plugin>("libdltrain_cuda.so");
    using Fill = void (*)(GpuPlugin*);
    const auto fill = reinterpret_cast<Fill>(library_->function("dltrain_cuda_plugin"));
    fill(&plugin_);
    ask();
  } catch (const Error& error) {
    why_not_ = error.what();
  }
}

Gpus::Gpus(const GpuPlugin& plugin) : plugin_(plugin) {
  try {
    ask();
  } catch (const Error& error) {
    why_not_ = error.what();
  }
}

Gpus::~Gpus() = default;

void Gpus::ask() {
  if (plugin_.interface != GpuPlugin::kInterface) {
    throw Error(Exit::unavailable,
                cat("libdltrain_cuda.so has interface ", plugin_.interface, ", expected ",
                    GpuPlugin::kInterface, ": it belongs to another version of dltrain"));
  }
  list_ = plugin_.list();
}

std::unique_ptr<Backend> Gpus::open(int index) const {
  if (!why_not_.empty()) throw Error(Exit::unavailable, why_not_);
  return plugin_.make(index);
}

}  // namespace dlt::tensor

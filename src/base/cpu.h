// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dlt {

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512 = false;  // f, bw, cd, dq and vl, and the kernel saves the registers
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
  bool amd = false;
  std::string model;  // "Intel(R) Xeon(R) Processor"
};

[[nodiscard]] CpuFeatures cpu_features();
/// The cores this process may run on (its affinity mask), ascending.
[[nodiscard]] std::vector<int> allowed_cores();
[[nodiscard]] int online_cores();
/// The NUMA node that all of these cores belong to, -1 if they are on several or Linux does not
/// say. folder: with node0/cpulist and so on.
[[nodiscard]] int numa_node_of(const std::vector<int>& cores,
                               const std::string& folder = "/sys/devices/system/node");
/// Peak resident set of this process so far (VmHWM), in bytes.
[[nodiscard]] long long peak_rss_bytes();
/// Processor time of all threads of this process so far.
[[nodiscard]] double process_cpu_s();

}  // namespace dlt

// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <cpuid.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace dlt {

namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// All zero where the processor has no such leaf.
Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

bool bit(unsigned word, int index) { return ((word >> index) & 1u) != 0; }

/// Which register files the kernel saves (XCR0).
std::uint64_t saved_state() {
  if (!bit(cpuid(1).ecx, 27)) return 0;  // OSXSAVE
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

/// Cores of "0-3,8,10-11"; none for a text of another form.
std::vector<int> read_cores(const std::string& text) {
  std::vector<int> cores;
  std::istringstream ranges(text);
  for (std::string range; std::getline(ranges, range, ',');) {
    int first = 0, last = 0;
    const int found = std::sscanf(range.c_str(), "%d-%d", &first, &last);
    if (found < 1) return {};
    if (found == 1) last = first;
    for (int core = first; core <= last; ++core) cores.push_back(core);
  }
  return cores;
}

std::string brand() {
  if (cpuid(0x80000000u).eax < 0x80000004u) return "unknown";
  std::array<char, 49> text{};
  for (unsigned part = 0; part < 3; ++part) {
    const Registers r = cpuid(0x80000002u + part);
    std::memcpy(text.data() + 16 * part, &r, sizeof r);
  }
  const std::string all = text.data();
  const std::size_t first = all.find_first_not_of(' ');
  if (first == std::string::npos) return "unknown";
  return all.substr(first, all.find_last_not_of(' ') - first + 1);
}

}  // namespace

CpuFeatures cpu_features() {
  constexpr std::uint64_t kAvxState = 0x6;       // xmm, ymm
  constexpr std::uint64_t kAvx512State = 0xe6;   // and masks, zmm
  constexpr std::uint64_t kTileState = 0x60000;  // tile configuration and data
  const std::uint64_t saved = saved_state();
  const bool avx = (saved & kAvxState) == kAvxState;
  const bool zmm = (saved & kAvx512State) == kAvx512State;
  const bool tiles = (saved & kTileState) == kTileState;
  const Registers one = cpuid(1);
  const Registers zero = cpuid(0);
  const Registers seven = cpuid(7);
  CpuFeatures features;
  features.amd = zero.ebx == 0x68747541 && zero.edx == 0x69746e65 && zero.ecx == 0x444d4163;
  features.avx2 = avx && bit(seven.ebx, 5);
  features.fma = avx && bit(one.ecx, 12);
  features.f16c = avx && bit(one.ecx, 29);
  // f, dq, cd, bw, vl
  features.avx512 = zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 28) &&
                    bit(seven.ebx, 30) && bit(seven.ebx, 31);
  features.avx512_bf16 = features.avx512 && seven.eax >= 1 && bit(cpuid(7, 1).eax, 5);
  features.amx_bf16 = tiles && bit(seven.edx, 22) && bit(seven.edx, 24);
  features.model = brand();
  return features;
}

std::vector<int> allowed_cores() {
  std::vector<int> cores;
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(capacity));
    if (set == nullptr) break;
    const std::size_t set_bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity));
    CPU_ZERO_S(set_bytes, set);
    const bool known = sched_getaffinity(0, set_bytes, set) == 0;
    for (int core = 0; known && core < capacity; ++core) {
      if (CPU_ISSET_S(static_cast<std::size_t>(core), set_bytes, set)) cores.push_back(core);
    }
    CPU_FREE(set);
    if (known) break;  // else the mask was too small for this kernel
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

int online_cores() {
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<int>(count) : 1;
}

int numa_node_of(const std::vector<int>& cores, const std::string& folder) {
  if (cores.empty()) return -1;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    int node = -1;
    if (std::sscanf(entry.path().filename().c_str(), "node%d", &node) != 1) continue;
    std::ifstream file(entry.path() / "cpulist");
    std::string text;
    std::getline(file, text);
    const std::vector<int> of_node = read_cores(text);
    const auto inside = [&](int core) {
      return std::find(of_node.begin(), of_node.end(), core) != of_node.end();
    };
    if (std::all_of(cores.begin(), cores.end(), inside)) return node;
  }
  return -1;
}

long long peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) {
      long long kib = 0;
      if (std::istringstream(line.substr(6)) >> kib) return kib * 1024;
    }
  }
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024LL;
}

double process_cpu_s() {
  timespec time{};
  (void)::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace dlt

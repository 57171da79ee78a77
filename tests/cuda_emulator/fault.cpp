// SPDX-License-Identifier: Apache-2.0
// Says what a SIGSEGV was: the host at device memory, or a kernel at memory that is not there.
#include <cstdio>
#include <string>

#include <signal.h>

#include "cuda_emulator/block.h"
#include "cuda_emulator/engine.h"
#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

struct sigaction previous;

std::string index_text(const uint3& v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

/// The device that the address is of, or -1.
int device_of(const void* address) {
  const Engine& e = engine();
  for (std::size_t d = 0; d < e.devices.size(); ++d) {
    if (e.devices[d].memory->covers(address)) return static_cast<int>(d);
  }
  return -1;
}

// The process is about to end, so this may do what a handler otherwise must not.
void on_fault(int, siginfo_t* info, void*) {
  // The access is made again after this, and then has its usual end.
  sigaction(SIGSEGV, &previous, nullptr);
  const int device = device_of(info->si_addr);
  std::string what;
  if (const void* kernel = running_kernel()) {
    what = "kernel " + function_name(kernel) + ", block " + index_text(indices.block) +
           ", thread " + index_text(indices.thread) + " touched ";
    what += device < 0 ? "memory that is not a device's"
                       : "device memory that is free or between allocations";
  } else if (device >= 0) {
    what = "the host touched memory of device " + std::to_string(device);
  } else {
    return;
  }
  std::fprintf(stderr, "cuda emulator: %s, at %p\n  again: DLT_EMULATOR_SEED=%llu\n", what.c_str(),
               info->si_addr, static_cast<unsigned long long>(seed()));
  std::fflush(stderr);
}

}  // namespace

void watch_faults() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous);
#endif
}

}  // namespace dlt::emulator

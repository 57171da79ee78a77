// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/bf16_unit.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpu.h"

namespace dlt::cpu {
namespace {

/// Linux hands out the 8 KiB of tile registers on request only: ARCH_REQ_XCOMP_PERM, for all
/// threads of the process. source  Linux, Documentation/arch/x86/xstate.rst
bool tiles_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

Bf16Unit bf16_unit() {
  static const Bf16Unit unit = [] {
    const CpuFeatures cpu = cpu_features();
    if (!cpu.avx512_bf16) return Bf16Unit::none;
    return cpu.amx_bf16 && tiles_permitted() ? Bf16Unit::amx : Bf16Unit::avx512;
  }();
  return unit;
}

const char* name(Bf16Unit unit) {
  switch (unit) {
    case Bf16Unit::none:
      return "none";
    case Bf16Unit::avx512:
      return "avx512_bf16";
    case Bf16Unit::amx:
      return "amx_bf16";
  }
  return "";
}

}  // namespace dlt::cpu

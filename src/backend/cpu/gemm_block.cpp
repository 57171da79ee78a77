// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm.h"
#include "base/cpu.h"

namespace dlt::cpu {

const GemmBlock& gemm_block() {
  static const bool amd = cpu_features().amd;
  return amd ? kGemmDeep : kGemmTall;
}

}  // namespace dlt::cpu

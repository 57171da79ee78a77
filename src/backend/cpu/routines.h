// SPDX-License-Identifier: Apache-2.0
// The routines of every kernel of kernels.def, in both instruction sets.
#pragma once

#include "backend/cpu/call.h"

namespace dlt::cpu {

#define DLT_KERNEL(name, form) void run_##name(const Call& call);
namespace avx2 {
#include "backend/cpu/kernels.def"
}
namespace avx512 {
#include "backend/cpu/kernels.def"
}
#undef DLT_KERNEL

}  // namespace dlt::cpu

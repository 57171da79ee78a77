// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backend/cpu/gemm.h"

namespace dlt::cpu {

/// Whether oneDNN multiplies matrices of this form faster than our own kernel does: a fixed rule,
/// so that the same shape has the same bits everywhere. Measured by bench/kernels
/// (docs/performance.md): on Intel's processors from 512 on in every size, or from 384 on with 1024
/// rows where no operand is stored [k,m], oneDNN is 1.02 to 1.2 times as fast; on AMD's, from 384
/// on, where a is stored [k,m] or k is long, 1.04 to 1.08 times. A leaf's narrow products are ours,
/// by as much.
[[nodiscard]] constexpr bool onednn_is_faster(const GemmArgs& g, bool amd) {
  constexpr std::int64_t kLarge = 512, kSmallest = 384, kManyRows = 1024;
  if (g.n < kSmallest || g.k < kSmallest) return false;
  if (amd) {
    if (g.trans_a) return g.m >= kSmallest && g.k >= kLarge;
    return !g.trans_b && g.m >= kLarge && g.k >= kManyRows;
  }
  return g.trans_a ? g.m >= kLarge && g.n >= kLarge && g.k >= kLarge
                   : g.m >= kManyRows || (g.m >= kLarge && g.n >= kLarge && g.k >= kLarge);
}

/// c = op(a) · op(b), plus the bias of each column where there is one. g.relu and g.scratch are not
/// used; oneDNN takes its own packing memory for the time of the call. source  oneDNN 2.6,
/// dnnl_sgemm
void onednn_gemm(const GemmArgs& g);

/// Keeps oneDNN to one core in the calling thread: a leaf runs on one core.
void onednn_enter_thread();

[[nodiscard]] const char* onednn_version();

}  // namespace dlt::cpu

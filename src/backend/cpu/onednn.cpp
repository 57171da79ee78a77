// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/onednn.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu {

void onednn_gemm(const GemmArgs& g) {
  // The bias is what the product is added to.
  for (std::int64_t row = 0; g.bias != nullptr && row < g.m; ++row) {
    std::copy_n(g.bias, g.n, g.c + row * g.n);
  }
  const dnnl_status_t status = dnnl_sgemm(
      g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N', g.m, g.n, g.k, 1.0F, g.a, g.trans_a ? g.m : g.k,
      g.b, g.trans_b ? g.k : g.n, g.bias == nullptr ? 0.0F : 1.0F, g.c, g.n);
  DLT_CHECK(status == dnnl_success, cat("dnnl_sgemm = ", static_cast<int>(status)));
}

void onednn_enter_thread() { omp_set_num_threads(1); }

const char* onednn_version() {
  static const std::array<char, 32> text = [] {
    std::array<char, 32> out{};
    const dnnl_version_t* version = dnnl_version();
    (void)std::snprintf(out.data(), out.size(), "oneDNN %d.%d.%d", version->major, version->minor,
                        version->patch);
    return out;
  }();
  return text.data();
}

}  // namespace dlt::cpu

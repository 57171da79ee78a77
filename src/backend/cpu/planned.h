// SPDX-License-Identifier: Apache-2.0
// What a routine with a plan of its own gets in a run: plain pointers (see call.h for why).
#pragma once

#include <cstdint>

namespace dlt::cpu {

struct Memory {
  static constexpr int kMaxInputs = 8, kMaxOutputs = 4;
  const void* in[kMaxInputs] = {};  // null behind the last
  void* out[kMaxOutputs] = {};
  float* scratch = nullptr;

  [[nodiscard]] const float* x(int i) const { return static_cast<const float*>(in[i]); }
  [[nodiscard]] float* y(int i) const { return static_cast<float*>(out[i]); }
};

}  // namespace dlt::cpu

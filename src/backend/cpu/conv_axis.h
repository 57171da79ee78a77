// SPDX-License-Identifier: Apache-2.0
// The axes of convolutions as axes of a gather.
#pragma once

#include "backend/cpu/conv.h"
#include "backend/cpu/gather.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// What outputs read of the input.
inline GatherAxis forward_axis(const ConvAxis& a) {
  return {a.in, a.out, a.stride, -a.pad, a.kernel, a.dilation};
}

/// The inputs at one remainder of the stride and what they read of the output's gradient: taps
/// first_tap, first_tap + tap_step, ... in falling order, so that they read from left to right.
struct Phase {
  std::int64_t begin = 0, count = 0;  // inputs begin, begin + stride, ...
  std::int64_t last_tap = 0, tap_step = 1;
  GatherAxis gather;
};

inline std::int64_t common_divisor(std::int64_t a, std::int64_t b) {
  while (b != 0) {
    const std::int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

inline Phase phase_of(const ConvAxis& a, std::int64_t begin) {
  Phase phase;
  const std::int64_t divisor = common_divisor(a.stride, a.dilation);
  phase.begin = begin;
  phase.count = begin < a.in ? (a.in - begin + a.stride - 1) / a.stride : 0;
  phase.tap_step = a.stride / divisor;
  phase.gather = {a.out, phase.count, 1, 0, 0, a.dilation / divisor};
  for (std::int64_t tap = a.kernel - 1; tap >= 0; --tap) {
    const std::int64_t shift = begin + a.pad - tap * a.dilation;  // of output 0, times the stride
    if (shift % a.stride != 0) continue;
    if (phase.gather.taps++ == 0) {
      phase.last_tap = tap;
      phase.gather.first = shift / a.stride;
    }
  }
  return phase;
}

/// What outputs read: rows are outputs, columns belong to rows of the weight of one group.
inline Gather forward_gather(const ConvPlan& p, const float* x, std::int64_t group) {
  return {x + group * p.group_in, p.in_channels(), p.group_in, forward_axis(p.h),
          forward_axis(p.w)};
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

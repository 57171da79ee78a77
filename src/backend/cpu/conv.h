// SPDX-License-Identifier: Apache-2.0
// Plans of the convolutions and their routines; images are [batch, height, width, channels].
#pragma once

#include <cstdint>

#include "backend/cpu/call.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/planned.h"

namespace dlt::cpu {

/// Along one axis.
struct ConvAxis {
  std::int64_t in = 0, out = 0, kernel = 1, stride = 1, dilation = 1, pad = 0;  // pad: before
};

struct ConvPlan {
  std::int64_t batch = 0;
  ConvAxis h, w;
  std::int64_t groups = 1, group_in = 0, group_out = 0;  // channels of a group
  bool biased = false;
  Activation activation = Activation::none;
  float alpha = 0;
  Precision precision = Precision::f32;

  [[nodiscard]] constexpr std::int64_t in_channels() const { return groups * group_in; }
  [[nodiscard]] constexpr std::int64_t out_channels() const { return groups * group_out; }
  [[nodiscard]] constexpr std::int64_t in_pixels() const { return batch * h.in * w.in; }
  [[nodiscard]] constexpr std::int64_t out_pixels() const { return batch * h.out * w.out; }
  [[nodiscard]] constexpr std::int64_t taps() const { return h.kernel * w.kernel; }
  /// One filter a channel: no sum over channels, nothing to multiply as matrices.
  [[nodiscard]] constexpr bool depthwise() const { return group_in == 1 && group_out == 1; }
};

/// One image with as much of its padding as is read.
struct ConvFrame {
  std::int64_t height = 0, width = 0;
  bool padded = false;  // larger than the image
};

constexpr ConvFrame conv_frame(const ConvPlan& p) {
  const auto reach = [](const ConvAxis& a) {
    return (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
  };
  const ConvFrame frame{reach(p.h), reach(p.w), false};
  const bool padded = p.h.pad > 0 || p.w.pad > 0 || frame.height > p.h.in || frame.width > p.w.in;
  return {frame.height, frame.width, padded};
}

// Which way is taken: fixed rules on the shape, measured by bench/kernels. Whatever is rounded is a
// product of gathered panels.

/// Few channels: the image is read where it lies, one after the other. Padded images of grouped
/// convolutions are not: the frame holds the channels of a group only.
constexpr bool conv_direct(const ConvPlan& p) {
  constexpr std::int64_t kMostWeights = 32768, kMostFilters = 64, kMostChannels = 32;
  const bool plain = p.taps() == 1 && p.h.stride == 1 && p.w.stride == 1;
  const std::int64_t weights = p.taps() * p.group_in * p.group_out;
  return p.precision == Precision::f32 && !plain && p.groups == 1 && p.group_in <= kMostChannels &&
         p.group_out <= kMostFilters && weights <= kMostWeights && p.out_pixels() > 0;
}

constexpr std::int64_t conv_padded(std::int64_t n) { return (n + 15) / 16 * 16; }

/// Few input channels would leave many lanes of a product that makes their gradient empty: then its
/// columns are those of a row of the kernel, and its rows are added where they belong.
constexpr bool conv_direct_input_grad(const ConvPlan& p) {
  return p.precision == Precision::f32 && p.groups == 1 && p.group_in < 32 &&
         4 * p.group_in < 3 * conv_padded(p.group_in) && p.out_pixels() > 0;
}

constexpr std::int64_t kConvChunkRows = 1008;  // of inputs at a time, where the stride is not 1

/// Larger weights are read where they lie, tap by tap, rather than turned around in scratch.
constexpr bool conv_turns_weight(const ConvPlan& p) {
  return p.taps() * p.group_in * p.group_out <= (std::int64_t{1} << 18);
}

constexpr std::int64_t conv_frame_floats(const ConvPlan& p) {
  const ConvFrame frame = conv_frame(p);
  return frame.padded ? frame.height * frame.width * p.group_in : 0;
}

constexpr std::int64_t conv_direct_packed_floats(const ConvPlan& p) {
  return p.taps() * p.group_in * ((p.group_out + 31) / 32 * 32);
}

/// Runs of the weight's rows as panels: each run is at most one kernel row, at least one tap.
constexpr std::int64_t conv_direct_runs_floats(const ConvPlan& p) {
  return p.taps() * p.group_out * ((p.group_in + 31) / 32 * 32);
}

constexpr std::int64_t conv2d_scratch_floats(const ConvPlan& p) {
  if (p.depthwise()) return 0;
  if (conv_direct(p)) return conv_direct_packed_floats(p) + conv_frame_floats(p);
  return gemm_scratch_floats(p.out_pixels(), p.group_out, p.taps() * p.group_in, p.precision);
}

constexpr std::int64_t conv2d_weight_grad_scratch_floats(const ConvPlan& p) {
  if (p.depthwise()) return 0;
  if (conv_direct(p)) return conv_frame_floats(p);
  return gemm_scratch_floats(p.taps() * p.group_in, p.group_out, p.out_pixels(), p.precision);
}

constexpr std::int64_t conv2d_input_grad_scratch_floats(const ConvPlan& p) {
  const std::int64_t inner = p.taps() * p.group_out;
  if (p.depthwise()) return 0;
  if (conv_direct_input_grad(p)) return conv_direct_runs_floats(p) + conv_frame_floats(p);
  const bool strided = p.h.stride != 1 || p.w.stride != 1;
  const std::int64_t rows = strided ? kConvChunkRows : p.in_pixels();
  return (conv_turns_weight(p) ? inner * conv_padded(p.group_in) : 0) +
         (strided ? conv_padded(kConvChunkRows * p.group_in) : 0) +
         gemm_scratch_floats(rows, p.group_in, inner, p.precision);
}

#define DLT_CONV_ROUTINES(isa)                                                          \
  namespace isa {                                                                       \
  void conv2d(const ConvPlan& plan, const Memory& m);             /* x, weight, bias */ \
  void conv2d_input_grad(const ConvPlan& plan, const Memory& m);  /* dy, weight */      \
  void conv2d_weight_grad(const ConvPlan& plan, const Memory& m); /* x, dy */           \
  void conv2d_direct(const ConvPlan& plan, const Memory& m);                            \
  void conv2d_direct_input_grad(const ConvPlan& plan, const Memory& m);                 \
  void conv2d_direct_weight_grad(const ConvPlan& plan, const Memory& m);                \
  void depthwise(const ConvPlan& plan, const Memory& m);                                \
  void depthwise_input_grad(const ConvPlan& plan, const Memory& m);                     \
  void depthwise_weight_grad(const ConvPlan& plan, const Memory& m);                    \
  }
DLT_CONV_ROUTINES(avx2)
DLT_CONV_ROUTINES(avx512)
#undef DLT_CONV_ROUTINES

}  // namespace dlt::cpu

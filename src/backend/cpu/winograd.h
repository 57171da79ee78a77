// SPDX-License-Identifier: Apache-2.0
// 3 x 3 convolutions of stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3): 16 products of
// matrices for four outputs of each channel in place of 36. Inputs are multiplied by 0, 1 and -1 on
// the way, weights by 1/2 and 1/4, so that little accuracy is lost.
// source  Lavin & Gray 2015, "Fast algorithms for convolutional neural networks", arXiv:1509.09308
#pragma once

#include "backend/cpu/conv.h"

namespace dlt::cpu {

constexpr std::int64_t kWinogradPlaces = 16;  // of a transformed tile, 4 x 4

constexpr std::int64_t winograd_tiles(const ConvPlan& p, std::int64_t height, std::int64_t width) {
  return p.batch * ((height + 1) / 2) * ((width + 1) / 2);
}

/// Whether all three directions of a convolution are done that way: a fixed rule on the shape and,
/// for bf16, on the unit. AVX-512's dot products are twice as fast as f32, so 4 / 9 of the products
/// pay for the transforms; tiles of AMX are faster than those.
constexpr bool conv_winograd(const ConvPlan& p, Bf16Unit unit) {
  constexpr std::int64_t kFewestChannels = 32, kFewestTiles = 32;
  const auto fits = [](const ConvAxis& a) {
    return a.kernel == 3 && a.stride == 1 && a.dilation == 1 && a.pad <= 2;
  };
  const bool pays =
      p.precision == Precision::f32 || (p.precision == Precision::bf16 && unit == Bf16Unit::avx512);
  return pays && fits(p.h) && fits(p.w) && p.groups == 1 && p.group_in >= kFewestChannels &&
         p.group_out >= kFewestChannels && winograd_tiles(p, p.h.out, p.w.out) >= kFewestTiles;
}

/// Tiles at a time: with few channels all that belongs to them stays in the second-level cache,
/// with many the weights are read less often.
constexpr std::int64_t winograd_block(const ConvPlan& p) {
  return p.group_in * p.group_out <= 128 * 128 ? 128 : 256;
}

/// Floats from place to place of transformed tiles: not a multiple of 4 KiB, so that the sixteen
/// places of a tile do not compete for the same lines of the cache.
constexpr std::int64_t winograd_step(std::int64_t rows, std::int64_t columns) {
  return conv_padded(rows * columns) + 32;
}

constexpr std::int64_t winograd_scratch_floats(const ConvPlan& p) {
  const std::int64_t block = winograd_block(p);
  const std::int64_t weight = kWinogradPlaces * winograd_step(p.group_in, p.group_out);
  const std::int64_t tiles =
      kWinogradPlaces * (winograd_step(block, p.group_in) + winograd_step(block, p.group_out));
  const std::int64_t packed = kWinogradPlaces * (gemm_packed_b_floats(p.group_out, p.group_in) +
                                                 gemm_packed_b_floats(p.group_in, p.group_out));
  const std::int64_t forward = gemm_scratch_floats(block, p.group_out, p.group_in, p.precision);
  const std::int64_t backward = gemm_scratch_floats(block, p.group_in, p.group_out, p.precision);
  const std::int64_t weights = gemm_scratch_floats(p.group_in, p.group_out, block, p.precision);
  return weight + tiles + packed + forward + backward + weights;
}

#define DLT_WINOGRAD_ROUTINES(isa)                                  \
  namespace isa {                                                   \
  void winograd(const ConvPlan& plan, const Memory& m);             \
  void winograd_input_grad(const ConvPlan& plan, const Memory& m);  \
  void winograd_weight_grad(const ConvPlan& plan, const Memory& m); \
  }
DLT_WINOGRAD_ROUTINES(avx2)
DLT_WINOGRAD_ROUTINES(avx512)
#undef DLT_WINOGRAD_ROUTINES

}  // namespace dlt::cpu

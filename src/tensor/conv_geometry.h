// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tensor/kernel.h"

namespace dlt::tensor {

/// Sizes of a two-dimensional convolution: how its three tensors belong together. Position (h, w)
/// of the output reads input (h · stride + r · dilation - pad_top, ...) for each kernel row r; what
/// lies outside of the input is 0.
/// shapes  x [batch, in_h, in_w, in_channels], y [batch, out_h, out_w, out_channels],
///         weight [kernel_h, kernel_w, in_channels / groups, out_channels]
struct ConvGeometry {
  std::int64_t batch = 0, in_h = 0, in_w = 0, in_channels = 0;
  std::int64_t out_h = 0, out_w = 0, out_channels = 0;
  std::int64_t kernel_h = 1, kernel_w = 1;
  std::int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  std::int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  std::int64_t groups = 1;

  [[nodiscard]] std::int64_t group_in() const { return in_channels / groups; }
  [[nodiscard]] std::int64_t group_out() const { return out_channels / groups; }
  /// Whether attribute precision applies: with few channels, bf16 has nothing to gain.
  [[nodiscard]] bool rounds() const {
    constexpr std::int64_t kFewest = 16;
    return group_in() >= kFewest && group_out() >= kFewest;
  }
  [[nodiscard]] Shape input() const { return {batch, in_h, in_w, in_channels}; }
  [[nodiscard]] Shape output() const { return {batch, out_h, out_w, out_channels}; }
  [[nodiscard]] Shape weight() const { return {kernel_h, kernel_w, group_in(), out_channels}; }
  /// Multiplications and additions of one direction, those with padding included.
  [[nodiscard]] std::int64_t flops() const {
    return 2 * batch * out_h * out_w * kernel_h * kernel_w * group_in() * out_channels;
  }
};

/// Sets everything from the shapes of x and weight and the attributes stride_h, stride_w,
/// dilation_h, dilation_w, groups (1 each), pad_top, pad_left, pad_bottom, pad_right (0 each).
/// x and weight have four sizes each.
/// errors  Error(Exit::config) "WHO: ..." with the sizes and the rule that they break
[[nodiscard]] ConvGeometry conv_geometry(const std::string& who, const Shape& x,
                                         const Shape& weight, const Attrs& attrs);

}  // namespace dlt::tensor

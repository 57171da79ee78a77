// SPDX-License-Identifier: Apache-2.0
// Sizes of pooling, resizing and framing of images [batch, height, width, channels], from shapes
// and attributes that the ops have checked. Plain numbers: the header goes into files compiled for
// an instruction set or a device of their own.
#pragma once

#include <cstdint>

namespace dlt::tensor {

class Attrs;
class Shape;

/// Output (h, w) sees the cells (h · stride - top, ...) to (h · stride - top + window - 1, ...)
/// that lie in the image.
struct PoolGeometry {
  std::int64_t batch = 0, in_height = 0, in_width = 0, out_height = 0, out_width = 0, channels = 0;
  std::int64_t window_height = 1, window_width = 1, stride_height = 1, stride_width = 1;
  std::int64_t top = 0, left = 0;
  bool count_include_pad = false;
  bool overlap = false;  // a cell may lie in several windows
  bool gaps = false;     // a cell may lie in none
};

/// x [batch, places, channels]
struct GlobalPoolGeometry {
  std::int64_t batch = 0, places = 0, channels = 0;
};

/// From a small image to one of factor times its size.
struct UpsampleGeometry {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  // of the small image
  std::int64_t factor_height = 1, factor_width = 1;
  bool bilinear = false;
};

/// A small image at (top, left) of a large one.
struct FrameGeometry {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  // of the small image
  std::int64_t large_height = 0, large_width = 0, top = 0, left = 0;
};

/// Attributes window, strides, pads, count_include_pad; x is the image that is pooled, y the
/// result.
[[nodiscard]] PoolGeometry pool_geometry(const Shape& x, const Shape& y, const Attrs& attrs);
[[nodiscard]] GlobalPoolGeometry global_pool_geometry(const Shape& x);
/// Attributes size, interpolation.
[[nodiscard]] UpsampleGeometry upsample_geometry(const Shape& small, const Attrs& attrs);
/// Attribute pads.
[[nodiscard]] FrameGeometry frame_geometry(const Shape& small, const Shape& large,
                                           const Attrs& attrs);

}  // namespace dlt::tensor

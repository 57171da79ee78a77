// SPDX-License-Identifier: Apache-2.0
#include "tensor/image_geometry.h"

#include "tensor/kernel.h"

namespace dlt::tensor {

PoolGeometry pool_geometry(const Shape& x, const Shape& y, const Attrs& attrs) {
  const auto window = attrs.integers("window"), strides = attrs.integers("strides");
  const auto pads = attrs.integers("pads");
  PoolGeometry geometry{.batch = x[0],
                        .in_height = x[1],
                        .in_width = x[2],
                        .out_height = y[1],
                        .out_width = y[2],
                        .channels = x[3],
                        .window_height = window[0],
                        .window_width = window[1],
                        .stride_height = strides[0],
                        .stride_width = strides[1],
                        .top = pads[0],
                        .left = pads[2],
                        .count_include_pad = attrs.integer("count_include_pad") != 0};
  geometry.overlap = strides[0] < window[0] || strides[1] < window[1];
  geometry.gaps = strides[0] > window[0] || strides[1] > window[1] ||
                  (y[1] - 1) * strides[0] + window[0] < x[1] + pads[0] ||
                  (y[2] - 1) * strides[1] + window[1] < x[2] + pads[2];
  return geometry;
}

GlobalPoolGeometry global_pool_geometry(const Shape& x) {
  return {.batch = x[0], .places = x.rows() / x[0], .channels = x.last()};
}

UpsampleGeometry upsample_geometry(const Shape& small, const Attrs& attrs) {
  const auto size = attrs.integers("size");
  return {.batch = small[0],
          .height = small[1],
          .width = small[2],
          .channels = small[3],
          .factor_height = size[0],
          .factor_width = size[1],
          .bilinear = attrs.word("interpolation") == "bilinear"};
}

FrameGeometry frame_geometry(const Shape& small, const Shape& large, const Attrs& attrs) {
  const auto pads = attrs.integers("pads");
  return {.batch = small[0],
          .height = small[1],
          .width = small[2],
          .channels = small[3],
          .large_height = large[1],
          .large_width = large[2],
          .top = pads[0],
          .left = pads[2]};
}

}  // namespace dlt::tensor

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace dlt::import_ {

inline constexpr std::int64_t kShapePixels = 32;
inline constexpr std::int64_t kNumShapes = 10;

/// One image [32, 32, 3] of bytes: a shape of class row % 10 (disk, ring, square, frame, triangle,
/// its mirror image, plus, cross, lying and standing stripes) of random place, size and colour on
/// another colour, with `noise` grey levels of normal noise.
void draw_shape(std::uint64_t seed, std::int64_t row, double noise,
                std::vector<std::uint8_t>& pixels);

}  // namespace dlt::import_

// SPDX-License-Identifier: Apache-2.0
#include "import/synth_shapes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/rng.h"

namespace dlt::import_ {
namespace {

/// Whether the point (x, y) of the square [-1, 1]² belongs to shape `kind`.
bool inside(std::int64_t kind, double x, double y) {
  const double a = std::abs(x), b = std::abs(y), r = std::hypot(x, y);
  const bool square = a <= 0.85 && b <= 0.85;
  switch (kind) {
    case 0:
      return r <= 0.95;
    case 1:
      return r <= 0.95 && r >= 0.55;
    case 2:
      return square;
    case 3:
      return square && (a >= 0.5 || b >= 0.5);
    case 4:
      return b <= 0.9 && a <= (y + 0.9) / 1.8;
    case 5:
      return b <= 0.9 && a <= (0.9 - y) / 1.8;
    case 6:
      return (a <= 0.28 && b <= 0.95) || (b <= 0.28 && a <= 0.95);
    case 7:
      return square && (std::abs(x - y) <= 0.4 || std::abs(x + y) <= 0.4);
    case 8:
      return square && static_cast<int>((y + 0.85) / 0.34) % 2 == 0;
    default:
      return square && static_cast<int>((x + 0.85) / 0.34) % 2 == 0;
  }
}

}  // namespace

void draw_shape(std::uint64_t seed, std::int64_t row, double noise,
                std::vector<std::uint8_t>& pixels) {
  const rng::Key key{.seed = seed,
                     .op = rng::op_id("synth.shapes"),
                     .epoch = 0,
                     .sample = static_cast<std::uint64_t>(row)};
  const auto uniform = [&](std::uint64_t i) { return static_cast<double>(rng::uniform(key, i)); };
  const double radius = 7.0 + 7.0 * uniform(0);
  const double room = static_cast<double>(kShapePixels) / 2 - radius;
  const double centre_x = 15.5 + room * (2 * uniform(1) - 1);
  const double centre_y = 15.5 + room * (2 * uniform(2) - 1);
  std::array<double, 3> ink{}, paper{};
  double contrast = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    ink[c] = 255 * uniform(3 + c);
    paper[c] = 255 * uniform(6 + c);
    contrast += ink[c] - paper[c];
  }
  // Far enough apart to be seen: one is moved towards white, the other towards black.
  for (std::size_t c = 0; c < 3; ++c) {
    (contrast >= 0 ? ink : paper)[c] = 128 + ink[c] / 2;
    (contrast >= 0 ? paper : ink)[c] /= 2;
  }
  std::uint64_t index = 16;
  for (std::int64_t i = 0; i < kShapePixels; ++i) {
    for (std::int64_t j = 0; j < kShapePixels; ++j) {
      const bool in = inside(row % kNumShapes, (static_cast<double>(j) - centre_x) / radius,
                             (static_cast<double>(i) - centre_y) / radius);
      for (std::size_t c = 0; c < 3; ++c) {
        const double grey =
            (in ? ink : paper)[c] + noise * static_cast<double>(rng::normal(key, index++));
        pixels.push_back(static_cast<std::uint8_t>(std::clamp(grey, 0.0, 255.0)));
      }
    }
  }
}

}  // namespace dlt::import_

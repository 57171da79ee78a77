// SPDX-License-Identifier: Apache-2.0
// The matrix of a convolution without the matrix: row = position of a grid, column = (row of the
// kernel, column of the kernel, channel). Parts of it are written when a product asks for them.
#pragma once

#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_pack.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {
namespace {  // no symbol of one instruction set is shared by two files

/// Along one axis: tap t of grid position i reads position i · step + first + t · spread, or 0 if
/// there is none.
struct GatherAxis {
  std::int64_t size = 0;  // of the image
  std::int64_t grid = 0, step = 1, first = 0;
  std::int64_t taps = 1, spread = 1;
};

struct Gather {
  const float* image = nullptr;  // [batch, h.size, w.size, pixel]
  std::int64_t pixel = 0;        // floats from pixel to pixel
  std::int64_t channels = 0;     // of them, from image on
  GatherAxis h, w;

  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t line() const { return w.taps * channels; }
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t columns() const { return h.taps * line(); }
  /// A row of the kernel reads neighbouring floats.
  [[nodiscard]] DLT_INLINE_MEMBER bool joined() const {
    return channels == pixel && (w.spread == 1 || w.taps == 1);
  }
  [[nodiscard]] DLT_INLINE_MEMBER const float* image_line(std::int64_t b, std::int64_t y) const {
    return image + (b * h.size + y) * w.size * pixel;
  }
};

DLT_INLINE std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
DLT_INLINE std::int64_t greater(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
DLT_INLINE std::int64_t clamp(std::int64_t x, std::int64_t low, std::int64_t high) {
  return lesser(greater(x, low), high);
}

DLT_INLINE void copy_floats(const float* from, float* to, std::int64_t n) {
  for (; n >= kLanes; n -= kLanes, from += kLanes, to += kLanes) store(to, load(from));
  if (n > 0) store_first(to, load_first(from, n), n);
}
DLT_INLINE void zero_floats(float* to, std::int64_t n) {
  for (; n >= kLanes; n -= kLanes, to += kLanes) store(to, vf{});
  if (n > 0) store_first(to, vf{}, n);
}

/// Some columns of the matrix that lie side by side in the image, for the position at (0, 0).
struct Segment {
  std::int64_t row = 0;    // of the image
  std::int64_t begin = 0;  // floats from the start of that row, maybe before it
  std::int64_t count = 0;  // floats
  std::int64_t place = 0;  // from the first column asked for
};

/// Calls visit(segment) for columns [k0, k0 + n), in ascending order.
template <typename Visit>
DLT_INLINE void for_each_segment(const Gather& g, std::int64_t k0, std::int64_t n, Visit visit) {
  const std::int64_t run = g.joined() ? g.line() : g.channels;  // columns without a gap
  const std::int64_t runs = g.line() / run;
  std::int64_t index = k0 / run, skip = k0 - index * run;
  std::int64_t r = index / runs, t = index - r * runs;
  Segment segment;
  for (std::int64_t done = 0; done < n; done += segment.count, skip = 0) {
    segment.row = g.h.first + r * g.h.spread;
    segment.begin = (g.w.first + t * g.w.spread) * g.pixel + skip;
    segment.count = lesser(run - skip, n - done);
    segment.place = done;
    visit(segment);
    if (++t < runs) continue;
    t = 0;
    ++r;
  }
}

/// A position of the grid that moves on.
struct GridPoint {
  std::int64_t b = 0, i = 0, j = 0;
  GridPoint() = default;
  GridPoint(const Gather& g, std::int64_t position) {
    const std::int64_t line = position / g.w.grid;
    j = position - line * g.w.grid;
    b = line / g.h.grid;
    i = line - b * g.h.grid;
  }
  DLT_INLINE_MEMBER void advance(const Gather& g, std::int64_t columns) {
    j += columns;
    if (j < g.w.grid) return;
    j = 0;
    if (++i < g.h.grid) return;
    i = 0;
    ++b;
  }
};

/// What position (0, 0) and a segment become at a position: where it begins in its image line, and
/// that line, or null outside of the image.
struct Place {
  const float* line;
  std::int64_t begin;
};

DLT_INLINE Place place_of(const Gather& g, const GridPoint& p, const Segment& segment) {
  const std::int64_t y = p.i * g.h.step + segment.row;
  const bool inside = y >= 0 && y < g.h.size;
  return {inside ? g.image_line(p.b, y) : nullptr, p.j * g.w.step * g.pixel + segment.begin};
}

/// The segment at one position, zeros where the image ends.
DLT_INLINE void gather_segment(const Gather& g, const Place& place, std::int64_t count, float* to) {
  const std::int64_t width = g.w.size * g.pixel;
  if (place.line == nullptr) return zero_floats(to, count);
  if (place.begin >= 0 && place.begin + count <= width) {
    return copy_floats(place.line + place.begin, to, count);
  }
  const std::int64_t low = clamp(-place.begin, 0, count);
  const std::int64_t high = clamp(width - place.begin, low, count);
  zero_floats(to, low);
  copy_floats(place.line + place.begin + low, to + low, high - low);
  zero_floats(to + high, count - high);
}

/// FindAPanel: rows of the product are positions.
inline APanel positions_panel(const void* context, std::int64_t i, std::int64_t rows,
                              std::int64_t k0, std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  GridPoint points[kGemmRows];
  points[0] = GridPoint(g, i);
  for (std::int64_t r = 1; r < rows; ++r) {
    points[r] = points[r - 1];
    points[r].advance(g, 1);
  }
  const float* in_place = nullptr;
  for_each_segment(g, k0, depth, [&](const Segment& segment) {
    if (segment.count == depth && points[rows - 1].j == points[0].j + rows - 1) {
      // One row of the kernel, one line of the image: it may be read where it lies.
      const Place first = place_of(g, points[0], segment);
      const std::int64_t end = first.begin + (rows - 1) * g.w.step * g.pixel + depth;
      if (first.line != nullptr && first.begin >= 0 && end <= g.w.size * g.pixel) {
        in_place = first.line + first.begin;
        return;
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      gather_segment(g, place_of(g, points[r], segment), segment.count,
                     room + r * depth + segment.place);
    }
  });
  if (in_place != nullptr) return {in_place, g.w.step * g.pixel, false};
  return {room, depth, false};
}

/// Positions of a grid line whose segment lies in the image as a whole: [low, high) of `count` from
/// p on.
struct Inner {
  std::int64_t low = 0, high = 0;
  const float* from = nullptr;  // what position low reads
};

DLT_INLINE Inner inner_positions(const Gather& g, const GridPoint& p, std::int64_t count,
                                 const Segment& segment) {
  const Place place = place_of(g, p, segment);
  const std::int64_t step = g.w.step * g.pixel, width = g.w.size * g.pixel;
  const std::int64_t right = width - segment.count - place.begin;
  if (place.line == nullptr || right < 0) return {};
  Inner inner;
  inner.low = place.begin >= 0 ? 0 : (-place.begin + step - 1) / step;
  inner.high = right >= (count - 1) * step ? count : right / step + 1;
  if (inner.high <= inner.low) return {};
  inner.from = place.line + place.begin + inner.low * step;
  return inner;
}

/// FindAPanel: rows of the product are columns of the matrix, k runs over positions.
inline APanel columns_panel(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                            std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  const std::int64_t step = g.w.step * g.pixel;
  const GridPoint start(g, k0);
  for_each_segment(g, i, rows, [&](const Segment& segment) {
    GridPoint p = start;
    float* to = room + segment.place;
    for (std::int64_t left = depth; left > 0;) {
      const std::int64_t count = lesser(left, g.w.grid - p.j);
      const Inner inner = inner_positions(g, p, count, segment);
      Place place = place_of(g, p, segment);
      for (std::int64_t r = 0; r < inner.low; ++r, to += rows, place.begin += step) {
        gather_segment(g, place, segment.count, to);
      }
      const float* from = inner.from;
      for (std::int64_t r = inner.low; r < inner.high; ++r, to += rows, from += step) {
        copy_floats(from, to, segment.count);
      }
      place.begin += (inner.high - inner.low) * step;
      for (std::int64_t r = inner.high; r < count; ++r, to += rows, place.begin += step) {
        gather_segment(g, place, segment.count, to);
      }
      left -= count;
      p.advance(g, count);
    }
  });
  return {room, rows, true};
}

/// Whether neighbouring positions read neighbouring floats.
inline bool is_single(const Gather& g) { return g.pixel == 1 && g.w.step == 1; }

/// A tap at `count` neighbouring positions from position k0 on, of such a gather.
inline void gather_single(const Gather& g, const GridPoint& start, std::int64_t count,
                          std::int64_t tap_h, std::int64_t tap_w, float* to) {
  Segment segment;
  segment.row = g.h.first + tap_h * g.h.spread;
  segment.begin = g.w.first + tap_w * g.w.spread;
  GridPoint p = start;
  while (count > 0) {
    const std::int64_t some = lesser(count, g.w.grid - p.j);
    gather_segment(g, place_of(g, p, segment), some, to);
    to += some;
    count -= some;
    p.advance(g, some);
  }
}

/// positions_panel() of one channel and step 1.
inline APanel single_positions_panel(const void* context, std::int64_t i, std::int64_t rows,
                                     std::int64_t k0, std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  const GridPoint start(g, i);
  std::int64_t tap_h = k0 / g.w.taps, tap_w = k0 - tap_h * g.w.taps;
  for (std::int64_t k = 0; k < depth; ++k) {
    gather_single(g, start, rows, tap_h, tap_w, room + k * rows);
    if (++tap_w < g.w.taps) continue;
    tap_w = 0;
    ++tap_h;
  }
  return {room, rows, true};
}

/// columns_panel() of one channel and step 1.
inline APanel single_columns_panel(const void* context, std::int64_t i, std::int64_t rows,
                                   std::int64_t k0, std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  const GridPoint start(g, k0);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t tap_h = (i + r) / g.w.taps, tap_w = (i + r) % g.w.taps;
    gather_single(g, start, depth, tap_h, tap_w, room + r * depth);
  }
  return {room, depth, false};
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

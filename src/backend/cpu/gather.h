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

/// Part [c, c + n) of what a row of the kernel reads, from column x of an image line on.
inline void gather_line(const Gather& g, const float* line, std::int64_t x, std::int64_t c,
                        std::int64_t n, float* to) {
  if (g.joined()) {
    const std::int64_t from = x * g.pixel + c;
    const std::int64_t low = clamp(-from, 0, n), high = clamp(g.w.size * g.pixel - from, low, n);
    zero_floats(to, low);
    copy_floats(line + from + low, to + low, high - low);
    zero_floats(to + high, n - high);
    return;
  }
  for (std::int64_t t = c / g.channels, skip = c % g.channels; n > 0; ++t, skip = 0) {
    const std::int64_t count = lesser(n, g.channels - skip), at = x + t * g.w.spread;
    if (at >= 0 && at < g.w.size) {
      copy_floats(line + at * g.pixel + skip, to, count);
    } else {
      zero_floats(to, count);
    }
    to += count;
    n -= count;
  }
}

/// Columns [k0, k0 + n) of the row of position (b, i, j).
inline void gather_row(const Gather& g, std::int64_t b, std::int64_t i, std::int64_t j,
                       std::int64_t k0, std::int64_t n, float* to) {
  const std::int64_t line = g.line();
  std::int64_t c = k0 % line;
  std::int64_t y = i * g.h.step + g.h.first + k0 / line * g.h.spread;
  const std::int64_t x = j * g.w.step + g.w.first;
  for (; n > 0; y += g.h.spread) {
    const std::int64_t count = lesser(n, line - c);
    if (y >= 0 && y < g.h.size) {
      gather_line(g, g.image_line(b, y), x, c, count, to);
    } else {
      zero_floats(to, count);
    }
    to += count;
    n -= count;
    c = 0;
  }
}

/// A position of the grid that moves on.
struct GridPoint {
  std::int64_t b, i, j;
  GridPoint(const Gather& g, std::int64_t position)
      : b(position / (g.h.grid * g.w.grid)),
        i(position / g.w.grid % g.h.grid),
        j(position % g.w.grid) {}
  DLT_INLINE_MEMBER void advance(const Gather& g, std::int64_t columns) {
    j += columns;
    if (j < g.w.grid) return;
    j = 0;
    if (++i < g.h.grid) return;
    i = 0;
    ++b;
  }
};

/// Where columns [k0, k0 + n) of the rows of `count` neighbouring positions from p on lie if they
/// need no copy: at equal distances, each without a gap; else null.
inline const float* gather_in_place(const Gather& g, const GridPoint& p, std::int64_t count,
                                    std::int64_t k0, std::int64_t n) {
  const std::int64_t line = g.line(), c = k0 % line;
  if (p.j + count > g.w.grid || c + n > line) return nullptr;
  const std::int64_t first_tap = c / g.channels, last_tap = (c + n - 1) / g.channels;
  if (first_tap != last_tap && !g.joined()) return nullptr;
  const std::int64_t y = p.i * g.h.step + g.h.first + k0 / line * g.h.spread;
  const std::int64_t low = p.j * g.w.step + g.w.first + first_tap * g.w.spread;
  const std::int64_t high = (p.j + count - 1) * g.w.step + g.w.first + last_tap * g.w.spread;
  if (y < 0 || y >= g.h.size || low < 0 || high >= g.w.size) return nullptr;
  return g.image_line(p.b, y) + low * g.pixel + c % g.channels;
}

/// FindAPanel: rows of the product are positions.
inline APanel positions_panel(const void* context, std::int64_t i, std::int64_t rows,
                              std::int64_t k0, std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  GridPoint p(g, i);
  if (const float* place = gather_in_place(g, p, rows, k0, depth); place != nullptr) {
    return {place, g.w.step * g.pixel, false};
  }
  for (std::int64_t r = 0; r < rows; ++r, p.advance(g, 1)) {
    gather_row(g, p.b, p.i, p.j, k0, depth, room + r * depth);
  }
  return {room, depth, false};
}

/// Grid positions of one line whose reads of some columns of the matrix all lie in the image and
/// side by side.
struct Inner {
  std::int64_t low = 0, high = 0;  // of the positions asked about
  const float* from = nullptr;     // what the first of them reads
};

/// Columns [k0, k0 + n) at `count` positions of one grid line from p on.
inline Inner inner_positions(const Gather& g, const GridPoint& p, std::int64_t count,
                             std::int64_t k0, std::int64_t n) {
  const std::int64_t line = g.line(), c = k0 % line;
  const std::int64_t y = p.i * g.h.step + g.h.first + k0 / line * g.h.spread;
  const std::int64_t first_tap = c / g.channels, last_tap = (c + n - 1) / g.channels;
  if (c + n > line || (first_tap != last_tap && !g.joined()) || y < 0 || y >= g.h.size) return {};
  const std::int64_t left = g.w.first + first_tap * g.w.spread;
  const std::int64_t right = g.w.size - 1 - g.w.first - last_tap * g.w.spread;
  const std::int64_t low = left >= 0 ? 0 : (-left + g.w.step - 1) / g.w.step;
  const std::int64_t high = right < 0 ? 0 : right / g.w.step + 1;
  Inner inner{clamp(low - p.j, 0, count), clamp(high - p.j, 0, count), nullptr};
  if (inner.high <= inner.low) return {};
  inner.from =
      g.image_line(p.b, y) + ((p.j + inner.low) * g.w.step + left) * g.pixel + c % g.channels;
  return inner;
}

/// FindAPanel: rows of the product are columns of the matrix, k runs over positions.
inline APanel columns_panel(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                            std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  const std::int64_t step = g.w.step * g.pixel;
  GridPoint p(g, k0);
  float* to = room;
  for (std::int64_t left = depth; left > 0;) {
    const std::int64_t count = lesser(left, g.w.grid - p.j);
    const Inner inner = inner_positions(g, p, count, i, rows);
    for (std::int64_t r = 0; r < inner.low; ++r, to += rows) {
      gather_row(g, p.b, p.i, p.j + r, i, rows, to);
    }
    const float* from = inner.from;
    for (std::int64_t r = inner.low; r < inner.high; ++r, to += rows, from += step) {
      copy_floats(from, to, rows);
    }
    for (std::int64_t r = inner.high; r < count; ++r, to += rows) {
      gather_row(g, p.b, p.i, p.j + r, i, rows, to);
    }
    left -= count;
    p.advance(g, count);
  }
  return {room, rows, true};
}

/// The same where positions side by side read floats side by side: one channel, step 1.
inline APanel single_columns_panel(const void* context, std::int64_t i, std::int64_t rows,
                                   std::int64_t k0, std::int64_t depth, float* room) {
  const Gather& g = *static_cast<const Gather*>(context);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t tap_h = (i + r) / g.w.taps, tap_w = (i + r) % g.w.taps;
    GridPoint p(g, k0);
    float* to = room + r * depth;
    for (std::int64_t left = depth; left > 0;) {
      const std::int64_t count = lesser(left, g.w.grid - p.j);
      const std::int64_t y = p.i * g.h.step + g.h.first + tap_h * g.h.spread;
      const std::int64_t x = p.j + g.w.first + tap_w * g.w.spread;
      std::int64_t low = count, high = count;
      if (y >= 0 && y < g.h.size) {
        low = clamp(-x, 0, count);
        high = clamp(g.w.size - x, low, count);
      }
      zero_floats(to, low);
      if (high > low) copy_floats(g.image_line(p.b, y) + x + low, to + low, high - low);
      zero_floats(to + high, count - high);
      to += count;
      left -= count;
      p.advance(g, count);
    }
  }
  return {room, depth, false};
}

}  // namespace
}  // namespace dlt::cpu::DLT_ISA

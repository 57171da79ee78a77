// SPDX-License-Identifier: Apache-2.0
// Convolutions with one filter a channel: channels side by side in vectors, no product of matrices.
#include "backend/cpu/activate.h"
#include "backend/cpu/conv.h"
#include "backend/cpu/conv_axis.h"
#include "backend/cpu/gather.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kPositions =
    8;  // neighbours of a line that share what is read of the weight

/// out[position] = bias + Σ over taps of image · weight, position (i, j) of the gather's grid.
struct Filter {
  Gather x;
  const float* weight;               // of tap (0, 0)
  std::int64_t weight_h, weight_w;   // floats from tap to tap
  const float* bias;                 // or null
  float* out;                        // of position (0, 0, 0)
  std::int64_t out_b, out_h, out_w;  // floats from position to position
};

/// `count` positions from p on, channels [c, c + lanes); positions and taps that are all within the
/// image need no test.
template <bool inner>
DLT_INLINE void filter_positions(const Filter& f, const GridPoint& p, std::int64_t count,
                                 std::int64_t c, std::int64_t lanes) {
  vf sums[kPositions];
  const vf start = f.bias != nullptr ? load_columns(f.bias + c, lanes) : vf{};
#pragma GCC unroll 8
  for (std::int64_t u = 0; u < kPositions; ++u) sums[u] = start;
  const Gather& x = f.x;
  for (std::int64_t r = 0; r < x.h.taps; ++r) {
    const std::int64_t y = p.i * x.h.step + x.h.first + r * x.h.spread;
    if (y < 0 || y >= x.h.size) continue;
    const float* line = x.image_line(p.b, y) + c;
    for (std::int64_t s = 0; s < x.w.taps; ++s) {
      const vf w = load_columns(f.weight + r * f.weight_h + s * f.weight_w + c, lanes);
      const std::int64_t at = p.j * x.w.step + x.w.first + s * x.w.spread;
      if (inner) {
        const float* from = line + at * x.pixel;
#pragma GCC unroll 8
        for (std::int64_t u = 0; u < kPositions; ++u) {
          sums[u] = fma(load(from + u * x.w.step * x.pixel), w, sums[u]);
        }
        continue;
      }
      for (std::int64_t u = 0; u < count; ++u) {
        const std::int64_t place = at + u * x.w.step;
        if (place < 0 || place >= x.w.size) continue;
        sums[u] = fma(load_columns(line + place * x.pixel, lanes), w, sums[u]);
      }
    }
  }
  float* to = f.out + p.b * f.out_b + p.i * f.out_h + p.j * f.out_w + c;
  if (inner) {
#pragma GCC unroll 8
    for (std::int64_t u = 0; u < kPositions; ++u) store(to + u * f.out_w, sums[u]);
    return;
  }
  for (std::int64_t u = 0; u < count; ++u) store_columns(to + u * f.out_w, sums[u], lanes);
}

/// Up to kPositions positions from p on, all channels.
template <bool inner>
void filter_block(const Filter& f, const GridPoint& p, std::int64_t count) {
  for (std::int64_t c = 0; c < f.x.channels; c += kLanes) {
    const std::int64_t lanes = f.x.channels - c;
    if (inner && lanes >= kLanes) {
      filter_positions<true>(f, p, kPositions, c, kLanes);
    } else {
      filter_positions<false>(f, p, count, c, lanes);
    }
  }
}

void run_filter(const Filter& f, std::int64_t batch) {
  const GatherAxis& w = f.x.w;
  // Positions [low, high) of a line read nothing outside of it.
  const std::int64_t right = w.size - 1 - w.first - (w.taps - 1) * w.spread;
  std::int64_t low = clamp((-w.first + w.step - 1) / w.step, 0, w.grid);
  std::int64_t high = right < 0 ? low : clamp(right / w.step + 1, low, w.grid);
  if (high - low < kPositions) low = high = w.grid;
  GridPoint p(f.x, 0);
  for (std::int64_t line = 0; line < batch * f.x.h.grid; ++line) {
    for (p.j = 0; p.j < low; p.j += kPositions) {
      filter_block<false>(f, p, lesser(kPositions, low - p.j));
    }
    for (std::int64_t j = low; j < high; j += kPositions) {
      p.j = lesser(j, high - kPositions);  // the last block does some positions again
      filter_block<true>(f, p, kPositions);
    }
    for (p.j = high; p.j < w.grid; p.j += kPositions) {
      filter_block<false>(f, p, lesser(kPositions, w.grid - p.j));
    }
    p.j = w.grid - 1;
    p.advance(f.x, 1);
  }
}

/// Adds the products of a grid line from p on to the sums of a tap.
void add_tap(const Gather& x, const GridPoint& p, const Segment& tap, const float* dy,
             float* sums) {
  const std::int64_t channels = x.channels, step = x.w.step * x.pixel;
  const Inner inner = inner_positions(x, p, x.w.grid, tap);
  for (std::int64_t c = 0; c < channels && inner.from != nullptr; c += kLanes) {
    const std::int64_t lanes = channels - c;
    vf even = load_columns(sums + c, lanes), odd{};
    const float* a = inner.from + c;
    const float* b = dy + inner.low * channels + c;
    std::int64_t left = inner.high - inner.low;
    for (; left >= 2; left -= 2, a += 2 * step, b += 2 * channels) {
      even = fma(load_columns(a, lanes), load_columns(b, lanes), even);
      odd = fma(load_columns(a + step, lanes), load_columns(b + channels, lanes), odd);
    }
    if (left > 0) even = fma(load_columns(a, lanes), load_columns(b, lanes), even);
    store_columns(sums + c, even + odd, lanes);
  }
}

}  // namespace

void depthwise(const ConvPlan& p, const Memory& m) {
  const std::int64_t channels = p.groups;
  Filter f;
  f.x = {m.x(0), channels, channels, forward_axis(p.h), forward_axis(p.w)};
  f.weight = m.x(1);
  f.weight_h = p.w.kernel * channels;
  f.weight_w = channels;
  f.bias = p.biased ? m.x(2) : nullptr;
  f.out = m.y(0);
  f.out_w = channels;
  f.out_h = p.w.out * f.out_w;
  f.out_b = p.h.out * f.out_h;
  run_filter(f, p.batch);
  activate(p.activation, p.alpha, m.y(0), p.out_pixels() * channels);
}

void depthwise_input_grad(const ConvPlan& p, const Memory& m) {
  const std::int64_t channels = p.groups;
  for (std::int64_t y = 0; y < lesser(p.h.stride, p.h.in); ++y) {
    for (std::int64_t x = 0; x < lesser(p.w.stride, p.w.in); ++x) {
      const Phase h = phase_of(p.h, y), w = phase_of(p.w, x);
      Filter f;
      f.x = {m.x(0), channels, channels, h.gather, w.gather};
      f.weight = m.x(1) + (h.last_tap * p.w.kernel + w.last_tap) * channels;
      f.weight_h = -h.tap_step * p.w.kernel * channels;
      f.weight_w = -w.tap_step * channels;
      f.bias = nullptr;
      f.out = m.y(0) + (y * p.w.in + x) * channels;
      f.out_w = p.w.stride * channels;
      f.out_h = p.h.stride * p.w.in * channels;
      f.out_b = p.h.in * p.w.in * channels;
      run_filter(f, p.batch);
    }
  }
}

void depthwise_weight_grad(const ConvPlan& p, const Memory& m) {
  const std::int64_t channels = p.groups;
  const Gather x{m.x(0), channels, channels, forward_axis(p.h), forward_axis(p.w)};
  zero_floats(m.y(0), p.taps() * channels);
  GridPoint at(x, 0);
  for (std::int64_t line = 0; line < p.batch * p.h.out; ++line, at.advance(x, p.w.out)) {
    const float* dy = m.x(1) + line * p.w.out * channels;
    for_each_segment(x, 0, x.columns(), [&](const Segment& segment) {
      // A row of the kernel may be one segment: tap by tap.
      for (std::int64_t done = 0; done < segment.count; done += channels) {
        const Segment tap{segment.row, segment.begin + done, channels, 0};
        add_tap(x, at, tap, dy, m.y(0) + segment.place + done);
      }
    });
  }
}

}  // namespace dlt::cpu::DLT_ISA

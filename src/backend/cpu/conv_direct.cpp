// SPDX-License-Identifier: Apache-2.0
// Convolutions with few channels, and the gradient of their weights: tiles of neighbouring outputs
// (or weights) read the image where it lies. Gathering it first would cost more than the sums.
#include "backend/cpu/activate.h"
#include "backend/cpu/conv.h"
#include "backend/cpu/conv_axis.h"

namespace dlt::cpu::DLT_ISA {
namespace {

#ifdef __AVX512F__
constexpr int kRowsOfOne = 12;  // rows of a tile one vector wide; 32 registers
constexpr int kRowsOfTwo = 12;
#else
constexpr int kRowsOfOne = 10;  // of 16 registers
constexpr int kRowsOfTwo = 6;
#endif
constexpr std::int64_t kWidth = 2 * kLanes;  // columns of the widest tile

/// One image with its padding around it, so that nothing lies outside.
struct Frame {
  const float* pixels = nullptr;
  std::int64_t line = 0, pixel = 0;  // floats from line to line, from pixel to pixel
};

/// Image b of the gather, copied into room where anything lies outside of it.
Frame frame_of(const ConvPlan& p, const Gather& x, std::int64_t b, float* room) {
  const ConvFrame size = conv_frame(p);
  if (!size.padded) return {x.image_line(b, 0), x.w.size * x.pixel, x.pixel};
  const std::int64_t wide = size.width * x.channels;
  const std::int64_t begin = x.w.first * x.pixel;
  for (std::int64_t i = 0; i < size.height; ++i) {
    const std::int64_t y = i + x.h.first;
    const float* line = y >= 0 && y < x.h.size ? x.image_line(b, y) : nullptr;
    gather_segment(x, {line, begin}, wide, room + i * wide);
  }
  return {room, wide, x.channels};
}

/// The columns of the matrix in runs without a gap: run (r, t) begins at frame line r · h_step,
/// pixel t · w_step from the position's own.
struct Runs {
  std::int64_t count_h, count_w, length;  // length in floats
  std::int64_t step_h, step_w;            // floats
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t begin(std::int64_t run) const {
    return run / count_w * step_h + run % count_w * step_w;
  }
  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t count() const { return count_h * count_w; }
};

Runs runs_of(const Gather& x, const Frame& frame) {
  const std::int64_t step_h = x.h.spread * frame.line;
  if (x.joined()) return {x.h.taps, 1, x.line(), step_h, 0};
  return {x.h.taps, x.w.taps, x.channels, step_h, x.w.spread * frame.pixel};
}

// Outputs

struct OutputTile {
  const float* a = nullptr;  // what the first output reads
  std::int64_t stride = 0;   // floats to what the next one reads
  Runs runs{};
  const float* b = nullptr;  // packed: vectors of one k side by side
  float* c = nullptr;
  std::int64_t ldc = 0, columns = 0;
  const float* bias = nullptr;
  bool relu = false;
};

template <int MR, int NV>
__attribute__((noinline)) void output_tile(const OutputTile& t) {
  vf sums[MR][NV];
  for (int j = 0; j < NV; ++j) {
    const std::int64_t left = t.columns - j * kLanes;
    const vf start = t.bias != nullptr ? load_columns(t.bias + j * kLanes, left) : vf{};
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) sums[i][j] = start;
  }
  const float* b = t.b;
  const std::int64_t stride = t.stride;
  for (std::int64_t run = 0; run < t.runs.count(); ++run) {
    const float* a = t.a + t.runs.begin(run);
    for (std::int64_t k = 0; k < t.runs.length; ++k, ++a, b += NV * kLanes) {
      vf columns[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) columns[j] = load(b + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const vf x = set1(a[i * stride]);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) sums[i][j] = fma(x, columns[j], sums[i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      const vf y = t.relu ? max(vf{}, sums[i][j]) : sums[i][j];
      store_columns(t.c + i * t.ldc + j * kLanes, y, t.columns - j * kLanes);
    }
  }
}

using OutputRoutine = void (*)(const OutputTile&);

template <int NV>
OutputRoutine output_routine(std::int64_t rows) {
  static constexpr OutputRoutine kRoutines[] = {
      output_tile<1, NV>,  output_tile<2, NV>,  output_tile<3, NV>,
      output_tile<4, NV>,  output_tile<5, NV>,  output_tile<6, NV>,
#ifdef __AVX512F__
      output_tile<7, NV>,  output_tile<8, NV>,  output_tile<9, NV>,
      output_tile<10, NV>, output_tile<11, NV>, output_tile<12, NV>,
#else
      output_tile<NV == 1 ? 7 : 6, NV>, output_tile<NV == 1 ? 8 : 6, NV>,
      output_tile<NV == 1 ? 9 : 6, NV>, output_tile<NV == 1 ? 10 : 6, NV>,
#endif
  };
  return kRoutines[rows - 1];
}

/// Where piece `index` of `count` nearly equal ones begins.
DLT_INLINE std::int64_t cut(std::int64_t size, std::int64_t count, std::int64_t index) {
  const std::int64_t base = size / count, rest = size - base * count;
  return index * base + lesser(index, rest);
}

/// One line of outputs from position (i, 0) on.
void output_line(const ConvPlan& p, OutputTile t, std::int64_t columns) {
  const bool wide = columns > kLanes;
  const std::int64_t most = wide ? kRowsOfTwo : kRowsOfOne;
  const std::int64_t tiles = (p.w.out + most - 1) / most;
  const float* a = t.a;
  float* c = t.c;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = cut(p.w.out, tiles, tile);
    const std::int64_t rows = cut(p.w.out, tiles, tile + 1) - begin;
    t.a = a + begin * t.stride;
    t.c = c + begin * t.ldc;
    (wide ? output_routine<2>(rows) : output_routine<1>(rows))(t);
  }
}

void direct_group(const ConvPlan& p, const Memory& m, std::int64_t group, const float* packed,
                  float* room) {
  const Gather x = forward_gather(p, m.x(0), group);
  OutputTile t;
  t.ldc = p.out_channels();
  t.relu = p.activation == Activation::relu;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const Frame frame = frame_of(p, x, b, room);
    t.runs = runs_of(x, frame);
    t.stride = p.w.stride * frame.pixel;
    for (std::int64_t i = 0; i < p.h.out; ++i) {
      const float* weight = packed;
      for (std::int64_t j = 0; j < p.group_out; j += kWidth) {
        t.columns = lesser(kWidth, p.group_out - j);
        t.a = frame.pixels + i * p.h.stride * frame.line;
        t.b = weight;
        t.c = m.y(0) + (b * p.h.out + i) * p.w.out * t.ldc + group * p.group_out + j;
        t.bias = p.biased ? m.x(2) + group * p.group_out + j : nullptr;
        output_line(p, t, t.columns);
        weight += x.columns() * (t.columns > kLanes ? kWidth : kLanes);
      }
    }
  }
}

// Weights

struct WeightTile {
  const float* a = nullptr;         // what the first weight of the first run reads first
  std::int64_t next_run = 0;        // floats to the next run
  std::int64_t step = 0, line = 0;  // floats from position to position, from line to line
  std::int64_t lines = 0, positions = 0;
  const float* dy = nullptr;
  std::int64_t ldy = 0, columns = 0;
  float* c = nullptr;
  std::int64_t ldc = 0, c_next_run = 0;
  bool add = false;
};

/// MR weights of each of R runs, for one image.
template <int R, int MR, int NV>
__attribute__((noinline)) void weight_tile(const WeightTile& t) {
  vf sums[R * MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < R * MR; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) sums[i][j] = vf{};
  }
  const bool whole = t.columns >= NV * kLanes;
  const float* dy = t.dy;
  for (std::int64_t line = 0; line < t.lines; ++line) {
    const float* a = t.a + line * t.line;
    for (std::int64_t k = 0; k < t.positions; ++k, a += t.step, dy += t.ldy) {
      vf columns[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) {
        const float* from = dy + j * kLanes;
        columns[j] = whole ? load(from) : load_columns(from, t.columns - j * kLanes);
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
          const vf x = set1(a[r * t.next_run + i]);
#pragma GCC unroll 2
          for (int j = 0; j < NV; ++j) {
            sums[r * MR + i][j] = fma(x, columns[j], sums[r * MR + i][j]);
          }
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) {
        float* to = t.c + r * t.c_next_run + i * t.ldc + j * kLanes;
        const std::int64_t left = t.columns - j * kLanes;
        const vf sum = sums[r * MR + i][j];
        store_columns(to, t.add ? load_columns(to, left) + sum : sum, left);
      }
    }
  }
}

using WeightRoutine = void (*)(const WeightTile&);

#ifdef __AVX512F__
constexpr std::int64_t kTileWeights = 12, kTileRuns = 3, kShortRun = 5;
#else
constexpr std::int64_t kTileWeights = 6, kTileRuns = 2, kShortRun = 3;
#endif

template <int R, int NV>
WeightRoutine weight_routine_of(std::int64_t weights) {
  if constexpr (R == 1) {
    static constexpr WeightRoutine kRoutines[] = {
        weight_tile<1, 1, NV>,  weight_tile<1, 2, NV>,  weight_tile<1, 3, NV>,
        weight_tile<1, 4, NV>,  weight_tile<1, 5, NV>,  weight_tile<1, 6, NV>,
#ifdef __AVX512F__
        weight_tile<1, 7, NV>,  weight_tile<1, 8, NV>,  weight_tile<1, 9, NV>,
        weight_tile<1, 10, NV>, weight_tile<1, 11, NV>, weight_tile<1, 12, NV>,
#endif
    };
    return kRoutines[weights - 1];
  } else {
    static constexpr WeightRoutine kRoutines[] = {
        weight_tile<R, 1, NV>, weight_tile<R, 2, NV>, weight_tile<R, 3, NV>,
#ifdef __AVX512F__
        weight_tile<R, 4, NV>, weight_tile<R, 5, NV>,
#endif
    };
    return kRoutines[weights - 1];
  }
}

template <int NV>
WeightRoutine weight_routine(std::int64_t runs, std::int64_t weights) {
  if (runs == 1) return weight_routine_of<1, NV>(weights);
#ifdef __AVX512F__
  if constexpr (NV == 1) {
    if (runs == 3) return weight_routine_of<3, NV>(weights);
  }
#endif
  return weight_routine_of<2, NV>(weights);
}

/// The weights of `columns` filters from t.c on, from one image whose first position reads `a`.
void image_weights(const WeightTile& image, const Runs& runs) {
  const bool wide = image.columns > kLanes;
  const bool is_short = runs.length <= kShortRun && runs.count_w == 1;
  const std::int64_t most_runs = is_short ? (wide ? 2 : kTileRuns) : 1;
  const std::int64_t pieces = (runs.length + kTileWeights - 1) / kTileWeights;
  const std::int64_t groups = (runs.count() + most_runs - 1) / most_runs;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t run = cut(runs.count(), groups, group);
    const std::int64_t count = cut(runs.count(), groups, group + 1) - run;
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t begin = cut(runs.length, pieces, piece);
      const std::int64_t weights = cut(runs.length, pieces, piece + 1) - begin;
      WeightTile t = image;
      t.next_run = runs.step_h;
      t.a = image.a + runs.begin(run) + begin;
      t.c = image.c + (run * runs.length + begin) * image.ldc;
      t.c_next_run = runs.length * image.ldc;
      (wide ? weight_routine<2>(count, weights) : weight_routine<1>(count, weights))(t);
    }
  }
}

}  // namespace

void conv2d_direct(const ConvPlan& p, const Memory& m) {
  const std::int64_t inner = p.taps() * p.group_in;
  float* packed = m.scratch;
  float* room = packed + conv_direct_packed_floats(p);
  for (std::int64_t group = 0; group < p.groups; ++group) {
    const float* weight = m.x(1) + group * p.group_out;
    float* to = packed;
    for (std::int64_t j = 0; j < p.group_out; j += kWidth) {
      const std::int64_t columns = lesser(kWidth, p.group_out - j);
      const std::int64_t width = columns > kLanes ? kWidth : kLanes;
      pack_rows(weight + j, p.out_channels(), inner, columns, to, width);
      to += inner * width;
    }
    direct_group(p, m, group, packed, room);
  }
  if (p.activation == Activation::relu) return;
  activate(p.activation, p.alpha, m.y(0), p.out_pixels() * p.out_channels());
}

void conv2d_direct_weight_grad(const ConvPlan& p, const Memory& m) {
  WeightTile t;
  t.ldy = t.ldc = p.out_channels();
  t.lines = p.h.out;
  t.positions = p.w.out;
  if (p.batch == 0) zero_floats(m.y(0), p.taps() * p.group_in * p.out_channels());
  for (std::int64_t group = 0; group < p.groups; ++group) {
    const Gather x = forward_gather(p, m.x(0), group);
    for (std::int64_t b = 0; b < p.batch; ++b) {
      const Frame frame = frame_of(p, x, b, m.scratch);
      t.a = frame.pixels;
      t.step = p.w.stride * frame.pixel;
      t.line = p.h.stride * frame.line;
      t.add = b > 0;
      for (std::int64_t j = 0; j < p.group_out; j += kWidth) {
        t.columns = lesser(kWidth, p.group_out - j);
        t.dy = m.x(1) + b * p.h.out * p.w.out * t.ldy + group * p.group_out + j;
        t.c = m.y(0) + group * p.group_out + j;
        image_weights(t, runs_of(x, frame));
      }
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Convolutions with few channels: tiles of neighbouring outputs (or weights) read the image where
// it lies, and tiles of gradients are added where they belong. Gathering the image first, or
// scattering rows of a product, would cost more than the sums.
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

/// The lanes of a vector that count, made once for many loads and stores.
#ifdef __AVX512F__
using Lanes = __mmask16;
DLT_INLINE vf load_lanes(const float* p, Lanes lanes) { return _mm512_maskz_loadu_ps(lanes, p); }
DLT_INLINE void store_lanes(float* p, vf x, Lanes lanes) { _mm512_mask_storeu_ps(p, lanes, x); }
#else
using Lanes = __m256i;
DLT_INLINE vf load_lanes(const float* p, Lanes lanes) { return _mm256_maskload_ps(p, lanes); }
DLT_INLINE void store_lanes(float* p, vf x, Lanes lanes) { _mm256_maskstore_ps(p, lanes, x); }
#endif

template <int NV>
struct Columns {
  Lanes lanes[NV];
  explicit DLT_INLINE_MEMBER Columns(std::int64_t count) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) lanes[j] = first(clamp(count - j * kLanes, 0, kLanes));
  }
};

DLT_INLINE std::int64_t tile_width(std::int64_t columns) {
  return columns > kLanes ? kWidth : kLanes;
}

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

// Outputs, and what outputs give to inputs

/// c = a · b, row by row, where what a row reads lies in runs.
struct OutputTile {
  const float* a = nullptr;  // what the first output reads
  std::int64_t stride = 0;   // floats to what the next one reads
  Runs runs{};
  const float* b = nullptr;  // packed: vectors of one k side by side
  float* c = nullptr;
  std::int64_t ldc = 0, columns = 0;
  const float* bias = nullptr;
  float least = 0;  // relu: 0, else minus infinity
};

/// add: the result is added to c, row after row (rows of c may overlap).
template <int MR, int NV, bool add>
__attribute__((noinline)) void output_tile(const OutputTile& t) {
  const Columns<NV> valid(t.columns);
  vf sums[MR][NV];
  for (int j = 0; j < NV; ++j) {
    const vf start = t.bias != nullptr ? load_lanes(t.bias + j * kLanes, valid.lanes[j]) : vf{};
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) sums[i][j] = start;
  }
  const float* b = t.b;
  const std::int64_t stride = t.stride;
  const float* line = t.a;
  for (std::int64_t r = 0; r < t.runs.count_h; ++r, line += t.runs.step_h) {
    const float* begin = line;
    for (std::int64_t s = 0; s < t.runs.count_w; ++s, begin += t.runs.step_w) {
      const float* a = begin;
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
  }
  const vf least = set1(t.least);
  float* c = t.c;
  const std::int64_t ldc = t.ldc;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      float* to = c + i * ldc + j * kLanes;
      // What was just stored by the tile before is read here, not at the start: it has had time.
      const vf y = add ? load_lanes(to, valid.lanes[j]) + sums[i][j] : max(least, sums[i][j]);
      store_lanes(to, y, valid.lanes[j]);
    }
  }
}

using OutputRoutine = void (*)(const OutputTile&);

template <int NV, bool add>
OutputRoutine output_routine(std::int64_t rows) {
  static constexpr OutputRoutine kRoutines[] = {
      output_tile<1, NV, add>,  output_tile<2, NV, add>,  output_tile<3, NV, add>,
      output_tile<4, NV, add>,  output_tile<5, NV, add>,  output_tile<6, NV, add>,
#ifdef __AVX512F__
      output_tile<7, NV, add>,  output_tile<8, NV, add>,  output_tile<9, NV, add>,
      output_tile<10, NV, add>, output_tile<11, NV, add>, output_tile<12, NV, add>,
#else
      output_tile<NV == 1 ? 7 : 6, NV, add>, output_tile<NV == 1 ? 8 : 6, NV, add>,
      output_tile<NV == 1 ? 9 : 6, NV, add>, output_tile<NV == 1 ? 10 : 6, NV, add>,
#endif
  };
  return kRoutines[rows - 1];
}

/// Where piece `index` of `count` nearly equal ones begins.
DLT_INLINE std::int64_t cut(std::int64_t size, std::int64_t count, std::int64_t index) {
  const std::int64_t base = size / count, rest = size - base * count;
  return index * base + lesser(index, rest);
}

/// `rows` rows in tiles of nearly equal height.
template <bool add>
void output_rows(OutputTile t, std::int64_t rows) {
  const bool wide = t.columns > kLanes;
  const std::int64_t most = wide ? kRowsOfTwo : kRowsOfOne;
  const std::int64_t tiles = (rows + most - 1) / most;
  const float* a = t.a;
  float* c = t.c;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = cut(rows, tiles, tile);
    const std::int64_t count = cut(rows, tiles, tile + 1) - begin;
    t.a = a + begin * t.stride;
    t.c = c + begin * t.ldc;
    (wide ? output_routine<2, add>(count) : output_routine<1, add>(count))(t);
  }
}

void direct_group(const ConvPlan& p, const Memory& m, std::int64_t group, const float* packed,
                  float* room) {
  const Gather x = forward_gather(p, m.x(0), group);
  OutputTile t;
  t.ldc = p.out_channels();
  t.least = p.activation == Activation::relu ? 0.0f : -__builtin_inff();
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
        output_rows<false>(t, p.w.out);
        weight += x.columns() * tile_width(t.columns);
      }
    }
  }
}

/// weight^T of each run, in panels: packed[output channel][column].
void pack_runs(const ConvPlan& p, const float* weight, const Runs& runs, float* packed) {
  const std::int64_t filters = p.group_out;
  for (std::int64_t run = 0; run < runs.count(); ++run) {
    for (std::int64_t c = 0; c < runs.length; c += kWidth) {
      const std::int64_t columns = lesser(kWidth, runs.length - c), width = tile_width(columns);
      const float* from = weight + (run * runs.length + c) * filters;
      pack_transposed(from, filters, filters, columns, packed, width);
      packed += filters * width;
    }
  }
}

/// Adds what the outputs of one image give to the image. Rows of a tile are outputs below each
/// other where there are enough of them, for those share no inputs in one row of the kernel.
void add_image(const ConvPlan& p, const float* dy, const Runs& runs, const float* packed,
               const Frame& frame) {
  constexpr std::int64_t kEnough = 4;
  const std::int64_t line = p.w.out * p.group_out, c_line = p.h.stride * frame.line;
  const std::int64_t c_pixel = p.w.stride * frame.pixel;
  const bool below = p.h.out >= kEnough;
  OutputTile t;
  t.runs = {1, 1, p.group_out, 0, 0};
  t.stride = below ? line : p.group_out;
  t.ldc = below ? c_line : c_pixel;
  const std::int64_t rows = below ? p.h.out : p.w.out, others = below ? p.w.out : p.h.out;
  for (std::int64_t run = 0; run < runs.count(); ++run) {
    for (std::int64_t c = 0; c < runs.length; c += kWidth) {
      t.columns = lesser(kWidth, runs.length - c);
      t.b = packed;
      packed += p.group_out * tile_width(t.columns);
      for (std::int64_t other = 0; other < others; ++other) {
        t.a = dy + other * (below ? p.group_out : line);
        t.c = const_cast<float*>(frame.pixels) + runs.begin(run) + c +
              other * (below ? c_pixel : c_line);
        output_rows<true>(t, rows);
      }
    }
  }
}

/// The image within a frame; what the frame does not hold nobody has read.
void copy_from_frame(const ConvPlan& p, const Gather& x, const float* room, std::int64_t b) {
  const ConvFrame size = conv_frame(p);
  const std::int64_t width = size.width * x.pixel, begin = -x.w.first * x.pixel;
  const std::int64_t count = x.w.size * x.pixel;
  const std::int64_t some = clamp(width - begin, 0, count);
  for (std::int64_t y = 0; y < x.h.size; ++y) {
    float* to = const_cast<float*>(x.image_line(b, y));
    const std::int64_t line = y - x.h.first;
    const std::int64_t inside = line >= 0 && line < size.height ? some : 0;
    if (inside > 0) copy_floats(room + line * width + begin, to, inside);
    zero_floats(to + inside, count - inside);
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
  const Columns<NV> valid(t.columns);
  const float* dy = t.dy;
  for (std::int64_t line = 0; line < t.lines; ++line) {
    const float* a = t.a + line * t.line;
    for (std::int64_t k = 0; k < t.positions; ++k, a += t.step, dy += t.ldy) {
      vf columns[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) columns[j] = load_lanes(dy + j * kLanes, valid.lanes[j]);
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
        const vf sum = sums[r * MR + i][j];
        store_lanes(to, t.add ? load_lanes(to, valid.lanes[j]) + sum : sum, valid.lanes[j]);
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
      const std::int64_t columns = lesser(kWidth, p.group_out - j), width = tile_width(columns);
      pack_rows(weight + j, p.out_channels(), inner, columns, to, width);
      to += inner * width;
    }
    direct_group(p, m, group, packed, room);
  }
  if (p.activation == Activation::relu) return;
  activate(p.activation, p.alpha, m.y(0), p.out_pixels() * p.out_channels());
}

void conv2d_direct_input_grad(const ConvPlan& p, const Memory& m) {
  const Gather x = forward_gather(p, m.y(0), 0);
  const ConvFrame size = conv_frame(p);
  float* packed = m.scratch;
  float* room = packed + conv_direct_runs_floats(p);
  for (std::int64_t b = 0; b < p.batch; ++b) {
    Frame frame{x.image_line(b, 0), x.w.size * x.pixel, x.pixel};
    if (size.padded) frame = {room, size.width * x.pixel, x.pixel};
    const Runs runs = runs_of(x, frame);
    if (b == 0) pack_runs(p, m.x(1), runs, packed);
    zero_floats(const_cast<float*>(frame.pixels),
                (size.padded ? size.height : x.h.size) * frame.line);
    add_image(p, m.x(0) + b * p.h.out * p.w.out * p.group_out, runs, packed, frame);
    if (size.padded) copy_from_frame(p, x, room, b);
  }
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

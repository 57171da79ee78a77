// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/winograd.h"

#include "backend/cpu/activate.h"
#include "backend/cpu/gather.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kPlaces = kWinogradPlaces;

/// Tile (b, i, j) covers pixels (2 i + first_h, 2 j + first_w) and on.
struct Tiles {
  std::int64_t count_h = 0, count_w = 0;
  std::int64_t height = 0, width = 0, channels = 0;  // of the image
  std::int64_t first_h = 0, first_w = 0;

  [[nodiscard]] DLT_INLINE_MEMBER std::int64_t offset(std::int64_t b, std::int64_t y,
                                                      std::int64_t x) const {
    return ((b * height + y) * width + x) * channels;
  }
};

/// Some tiles, one after the other, and their transforms: place q of tile t at q · step + t ·
/// channels.
struct Block {
  std::int64_t begin = 0, count = 0;
  float* places = nullptr;
  std::int64_t step = 0;
};

template <typename Visit>
DLT_INLINE void for_each_tile(const Tiles& tiles, const Block& block, Visit visit) {
  const std::int64_t image = tiles.count_h * tiles.count_w;
  std::int64_t b = block.begin / image;
  std::int64_t i = (block.begin - b * image) / tiles.count_w;
  std::int64_t j = block.begin - b * image - i * tiles.count_w;
  for (std::int64_t t = 0; t < block.count; ++t) {
    visit(t, b, 2 * i + tiles.first_h, 2 * j + tiles.first_w);
    if (++j < tiles.count_w) continue;
    j = 0;
    if (++i < tiles.count_h) continue;
    i = 0;
    ++b;
  }
}

/// Which pixels of a tile lie in the image: rows [top, bottom), columns [left, right).
struct Extent {
  std::int64_t top, bottom, left, right;
};

DLT_INLINE Extent extent_of(const Tiles& tiles, std::int64_t y, std::int64_t x, std::int64_t size) {
  return {clamp(-y, 0, size), clamp(tiles.height - y, 0, size), clamp(-x, 0, size),
          clamp(tiles.width - x, 0, size)};
}

DLT_INLINE bool is_whole(const Extent& e, std::int64_t size) {
  return e.top == 0 && e.left == 0 && e.bottom == size && e.right == size;
}

/// d[i][j] = pixel (i, j), 0 where there is none; whole: all are there and so are all lanes.
template <int kSize, bool whole>
DLT_INLINE void load_tile(const float* pixels, const Tiles& tiles, const Extent& e,
                          std::int64_t lanes, vf (&d)[kSize][kSize]) {
#pragma GCC unroll 4
  for (int i = 0; i < kSize; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kSize; ++j) {
      const float* from = pixels + (i * tiles.width + j) * tiles.channels;
      if (whole) {
        d[i][j] = load(from);
      } else {
        const bool inside = i >= e.top && i < e.bottom && j >= e.left && j < e.right;
        d[i][j] = inside ? load_columns(from, lanes) : vf{};
      }
    }
  }
}

template <bool whole>
DLT_INLINE void store_places(float* to, std::int64_t step, std::int64_t lanes,
                             const vf (&v)[4][4]) {
#pragma GCC unroll 16
  for (int q = 0; q < 16; ++q) {
    if (whole) {
      store(to + q * step, v[q / 4][q % 4]);
    } else {
      store_columns(to + q * step, v[q / 4][q % 4], lanes);
    }
  }
}

/// B^T d B: what a tile of inputs becomes.
DLT_INLINE void transform_input(const vf (&d)[4][4], vf (&v)[4][4]) {
  vf t[4][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    t[0][j] = d[0][j] - d[2][j];
    t[1][j] = d[1][j] + d[2][j];
    t[2][j] = d[2][j] - d[1][j];
    t[3][j] = d[1][j] - d[3][j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i][0] = t[i][0] - t[i][2];
    v[i][1] = t[i][1] + t[i][2];
    v[i][2] = t[i][2] - t[i][1];
    v[i][3] = t[i][1] - t[i][3];
  }
}

/// A y A^T: what a tile of the outputs' gradient becomes.
DLT_INLINE void transform_output_grad(const vf (&y)[2][2], vf (&w)[4][4]) {
  vf t[4][2];
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    t[0][j] = y[0][j];
    t[1][j] = y[0][j] + y[1][j];
    t[2][j] = y[0][j] - y[1][j];
    t[3][j] = -y[1][j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    w[i][0] = t[i][0];
    w[i][1] = t[i][0] + t[i][1];
    w[i][2] = t[i][0] - t[i][1];
    w[i][3] = -t[i][1];
  }
}

/// Transforms tiles of kSize x kSize pixels: 4 of an input, 2 of an output's gradient.
template <int kSize>
void transform_tiles(const float* image, const Tiles& tiles, const Block& block) {
  for_each_tile(tiles, block, [&](std::int64_t t, std::int64_t b, std::int64_t y, std::int64_t x) {
    const Extent e = extent_of(tiles, y, x, kSize);
    const bool whole = is_whole(e, kSize);
    const float* pixels = image + tiles.offset(b, y, x);
    float* to = block.places + t * tiles.channels;
    for (std::int64_t c = 0; c < tiles.channels; c += kLanes) {
      const std::int64_t lanes = tiles.channels - c;
      vf d[kSize][kSize], v[4][4];
      const auto transform = [&] {
        if constexpr (kSize == 4) {
          transform_input(d, v);
        } else {
          transform_output_grad(d, v);
        }
      };
      if (whole && lanes >= kLanes) {
        load_tile<kSize, true>(pixels + c, tiles, e, lanes, d);
        transform();
        store_places<true>(to + c, block.step, lanes, v);
      } else {
        load_tile<kSize, false>(pixels + c, tiles, e, lanes, d);
        transform();
        store_places<false>(to + c, block.step, lanes, v);
      }
    }
  });
}

/// A^T m A + bias, then relu: from the products to 2 x 2 outputs.
void finish_tiles(const Block& block, const Tiles& tiles, const float* bias, Activation activation,
                  float* image) {
  for_each_tile(tiles, block, [&](std::int64_t t, std::int64_t b, std::int64_t y, std::int64_t x) {
    const Extent e = extent_of(tiles, y, x, 2);
    float* pixels = image + tiles.offset(b, y, x);
    for (std::int64_t c = 0; c < tiles.channels; c += kLanes) {
      const std::int64_t lanes = tiles.channels - c;
      const float* from = block.places + t * tiles.channels + c;
      const vf start = bias != nullptr ? load_columns(bias + c, lanes) : vf{};
      vf s[2][4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        vf m[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) m[i] = load_columns(from + (i * 4 + j) * block.step, lanes);
        s[0][j] = m[0] + m[1] + m[2];
        s[1][j] = m[1] - m[2] - m[3];
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        vf out[2] = {start + (s[i][0] + s[i][1] + s[i][2]), start + (s[i][1] - s[i][2] - s[i][3])};
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
          if (i >= e.bottom || j >= e.right) continue;
          if (activation == Activation::relu) out[j] = max(vf{}, out[j]);
          store_columns(pixels + (i * tiles.width + j) * tiles.channels + c, out[j], lanes);
        }
      }
    }
  });
}

/// places[q][row][column] = (G g G^T)[q] for each of rows x columns filters of 3 x 3; flipped: the
/// filters turned by half a turn.
void transform_weight(const float* weight, std::int64_t rows, std::int64_t columns, bool flipped,
                      float* places, std::int64_t step) {
  const std::int64_t tap = rows * columns;  // filters lie side by side: a matrix is one long row
  const vf half = set1(0.5f);
  for (std::int64_t c = 0; c < tap; c += kLanes) {
    const std::int64_t lanes = tap - c;
    vf t[4][3], u[4][4];
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      vf g[3];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        const int at = flipped ? 8 - (3 * r + s) : 3 * r + s;
        g[r] = load_columns(weight + at * tap + c, lanes);
      }
      const vf even = (g[0] + g[2]) * half, odd = g[1] * half;
      t[0][s] = g[0];
      t[1][s] = even + odd;
      t[2][s] = even - odd;
      t[3][s] = g[2];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const vf even = (t[i][0] + t[i][2]) * half, odd = t[i][1] * half;
      u[i][0] = t[i][0];
      u[i][1] = even + odd;
      u[i][2] = even - odd;
      u[i][3] = t[i][2];
    }
    store_places<false>(places + c, step, lanes, u);
  }
}

/// weight = G^T u G for each filter.
void finish_weight(const float* places, std::int64_t step, std::int64_t filters, float* weight) {
  const vf half = set1(0.5f);
  for (std::int64_t c = 0; c < filters; c += kLanes) {
    const std::int64_t lanes = filters - c;
    vf t[3][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      vf u[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) u[i] = load_columns(places + (i * 4 + j) * step + c, lanes);
      const vf sum = (u[1] + u[2]) * half;
      t[0][j] = u[0] + sum;
      t[1][j] = (u[1] - u[2]) * half;
      t[2][j] = sum + u[3];
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      const vf sum = (t[r][1] + t[r][2]) * half;
      const vf g[3] = {t[r][0] + sum, (t[r][1] - t[r][2]) * half, sum + t[r][3]};
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) store_columns(weight + (3 * r + s) * filters + c, g[s], lanes);
    }
  }
}

/// Outputs from inputs: the convolution itself, or with flipped filters its inputs' gradient.
struct Pass {
  const float* source;
  Tiles in;
  float* result;
  Tiles out;
  const float* weight;
  bool flipped;  // the weight is [3, 3, channels out, channels in]
  const float* bias;
  Activation activation;
};

void run_pass(const ConvPlan& p, const Pass& pass, float* scratch) {
  const std::int64_t inputs = pass.in.channels, outputs = pass.out.channels;
  const std::int64_t tiles = p.batch * pass.out.count_h * pass.out.count_w;
  const std::int64_t most = winograd_block(p);
  const std::int64_t weight_step = winograd_step(p.group_in, p.group_out);
  float* weight = scratch;
  float* packed = weight + kPlaces * weight_step;
  const std::int64_t packed_step = gemm_packed_b_floats(outputs, inputs);
  Block in{0, 0, packed + kPlaces * packed_step, winograd_step(most, inputs)};
  Block out{0, 0, in.places + kPlaces * in.step, winograd_step(most, outputs)};
  transform_weight(pass.weight, p.group_in, p.group_out, pass.flipped, weight, weight_step);
  GemmArgs g;
  g.precision = p.precision;
  g.n = outputs;
  g.k = inputs;
  g.trans_b = pass.flipped;
  g.scratch = out.places + kPlaces * out.step;
  for (std::int64_t q = 0; q < kPlaces && tiles > most; ++q) {
    g.b = weight + q * weight_step;
    pack_b(g, packed + q * packed_step);
  }
  for (std::int64_t begin = 0; begin < tiles; begin += most) {
    in.begin = out.begin = begin;
    in.count = out.count = lesser(most, tiles - begin);
    transform_tiles<4>(pass.source, pass.in, in);
    g.m = in.count;
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      g.a = in.places + q * in.step;
      g.b = weight + q * weight_step;
      g.packed_b = tiles > most ? packed + q * packed_step : nullptr;
      g.c = out.places + q * out.step;
      gemm(g);
    }
    finish_tiles(out, pass.out, pass.bias, pass.activation, pass.result);
  }
}

/// Tiles of the inputs (with the padding before them) and of the outputs, for tiles of outputs.
Tiles input_tiles(const ConvPlan& p) {
  return {(p.h.out + 1) / 2, (p.w.out + 1) / 2, p.h.in, p.w.in, p.group_in, -p.h.pad, -p.w.pad};
}
Tiles output_tiles(const ConvPlan& p) {
  return {(p.h.out + 1) / 2, (p.w.out + 1) / 2, p.h.out, p.w.out, p.group_out, 0, 0};
}

}  // namespace

void winograd(const ConvPlan& p, const Memory& m) {
  const float* bias = p.biased ? m.x(2) : nullptr;
  run_pass(p, {m.x(0), input_tiles(p), m.y(0), output_tiles(p), m.x(1), false, bias, p.activation},
           m.scratch);
  if (p.activation == Activation::relu) return;
  activate(p.activation, p.alpha, m.y(0), p.out_pixels() * p.group_out);
}

void winograd_input_grad(const ConvPlan& p, const Memory& m) {
  const std::int64_t count_h = (p.h.in + 1) / 2, count_w = (p.w.in + 1) / 2;
  const Tiles dy{count_h, count_w, p.h.out, p.w.out, p.group_out, p.h.pad - 2, p.w.pad - 2};
  const Tiles dx{count_h, count_w, p.h.in, p.w.in, p.group_in, 0, 0};
  run_pass(p, {m.x(0), dy, m.y(0), dx, m.x(1), true, nullptr, Activation::none}, m.scratch);
}

void winograd_weight_grad(const ConvPlan& p, const Memory& m) {
  const Tiles x = input_tiles(p), dy = output_tiles(p);
  const std::int64_t tiles = p.batch * x.count_h * x.count_w, most = winograd_block(p);
  const std::int64_t step = winograd_step(p.group_in, p.group_out);
  float* sums = m.scratch;
  Block in{0, 0, sums + kPlaces * step, winograd_step(most, p.group_in)};
  Block out{0, 0, in.places + kPlaces * in.step, winograd_step(most, p.group_out)};
  GemmArgs g;
  g.precision = p.precision;
  g.m = p.group_in;
  g.n = p.group_out;
  g.trans_a = true;
  g.scratch = out.places + kPlaces * out.step;
  for (std::int64_t begin = 0; begin < tiles; begin += most) {
    in.begin = out.begin = begin;
    in.count = out.count = lesser(most, tiles - begin);
    transform_tiles<4>(m.x(0), x, in);
    transform_tiles<2>(m.x(1), dy, out);
    g.k = in.count;
    g.accumulate = begin > 0;
    for (std::int64_t q = 0; q < kPlaces; ++q) {
      g.a = in.places + q * in.step;
      g.b = out.places + q * out.step;
      g.c = sums + q * step;
      gemm(g);
    }
  }
  finish_weight(sums, step, p.group_in * p.group_out, m.y(0));
}

}  // namespace dlt::cpu::DLT_ISA

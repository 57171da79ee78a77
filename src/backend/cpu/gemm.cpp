// SPDX-License-Identifier: Apache-2.0
// Matrix product after Goto and van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication": a tile of c stays in registers while k runs, panels of b are packed so that a
// tile reads them in sequence from the first-level cache. a is read where it lies if its rows run
// along k, and packed if not. The larger side of c is the outer loop and packed a panel at a time.
#include "backend/cpu/gemm.h"

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {
namespace {

#ifdef __AVX512F__
constexpr int kRows = 9;     // a tile's 27 sums, 3 vectors of b and one of a fill the 32 registers
constexpr int kVectors = 3;  // three rather than two: 97 % of the peak in cache instead of 92 %
#else
constexpr int kRows = 6;  // 12 sums, 2 vectors of b and one of a, of 16 registers
constexpr int kVectors = 2;
#endif
constexpr std::int64_t kWide = kVectors * kLanes;  // columns of a tile
constexpr std::int64_t kDepth = kGemmDepth, kInner = kGemmInner;
static_assert(kWide <= kGemmWidest && kInner % kWide == 0);

enum class Start : std::uint8_t { zero, bias, sum };

struct Tile {
  const float* a;
  std::int64_t a_stride;  // from row to row, or (across) from k to k
  const float* b;
  float* c;
  std::int64_t ldc;
  std::int64_t depth;
  std::int64_t columns;  // valid ones, <= NV * kLanes
  const float* bias;
  Start start;
  bool relu;
};

DLT_INLINE vf load_columns(const float* p, std::int64_t count) {
  if (count >= kLanes) return load(p);
  return count > 0 ? load_first(p, count) : vf{};
}

DLT_INLINE void store_columns(float* p, vf x, std::int64_t count) {
  if (count >= kLanes) {
    store(p, x);
  } else if (count > 0) {
    store_first(p, x, count);
  }
}

template <int MR, int NV>
DLT_INLINE void start_tile(const Tile& t, vf (&sums)[MR][NV]) {
  const bool whole = t.columns == NV * kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    const float* from = t.start == Start::sum ? t.c + i * t.ldc : t.bias;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      if (t.start == Start::zero) {
        sums[i][j] = vf{};
      } else if (whole) {
        sums[i][j] = load(from + j * kLanes);
      } else {
        sums[i][j] = load_columns(from + j * kLanes, t.columns - j * kLanes);
      }
    }
  }
}

template <int MR, int NV>
DLT_INLINE void finish_tile(const Tile& t, vf (&sums)[MR][NV]) {
  const bool whole = t.columns == NV * kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const vf y = t.relu ? max(vf{}, sums[i][j]) : sums[i][j];
      float* to = t.c + i * t.ldc + j * kLanes;
      if (whole) {
        store(to, y);
      } else {
        store_columns(to, y, t.columns - j * kLanes);
      }
    }
  }
}

/// One tile of MR rows and NV vectors. across: the MR numbers of one k lie side by side, else those
/// of one row do.
template <int MR, int NV, bool across>
__attribute__((noinline)) void tile_product(const Tile& t) {
  vf sums[MR][NV];
  start_tile<MR, NV>(t, sums);
  const float* a = t.a;
  const float* b = t.b;
  const std::int64_t stride = t.a_stride;
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < t.depth; ++k) {
    vf columns[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) columns[j] = load(b + j * kLanes);
    b += NV * kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const vf row = set1(across ? a[i] : a[i * stride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sums[i][j] = fma(row, columns[j], sums[i][j]);
    }
    a += across ? stride : 1;
  }
  finish_tile<MR, NV>(t, sums);
}

using TileProduct = void (*)(const Tile&);

template <int MR, bool across>
TileProduct tile_product_of(std::int64_t vectors) {
  if (vectors == 1) return tile_product<MR, 1, across>;
  if (vectors == 2 || kVectors == 2) return tile_product<MR, 2, across>;
  return tile_product<MR, kVectors, across>;
}

template <bool across>
TileProduct tile_product_of(std::int64_t rows, std::int64_t vectors) {
  switch (rows) {
    case 1:
      return tile_product_of<1, across>(vectors);
    case 2:
      return tile_product_of<2, across>(vectors);
    case 3:
      return tile_product_of<3, across>(vectors);
    case 4:
      return tile_product_of<4, across>(vectors);
    case 5:
      return tile_product_of<5, across>(vectors);
    case 6:
      return tile_product_of<6, across>(vectors);
#ifdef __AVX512F__
    case 7:
      return tile_product_of<7, across>(vectors);
    case 8:
      return tile_product_of<8, across>(vectors);
    case 9:
      return tile_product_of<9, across>(vectors);
#endif
  }
  return nullptr;
}

/// x[i][j] <-> x[j][i] of a square of vectors.
template <std::int64_t half>
DLT_INLINE void swap_blocks(vf& a, vf& b) {
#ifdef __AVX512F__
  const auto take = [](std::int64_t lane, std::int64_t add) {
    return static_cast<std::int32_t>((lane & half) == 0 ? lane + add : 16 + lane - half + add);
  };
  vi low{}, high{};
#pragma GCC unroll 16
  for (std::int64_t lane = 0; lane < 16; ++lane) {
    low[lane] = take(lane, 0);
    high[lane] = take(lane, half);
  }
  const vf old = a;
  a = _mm512_permutex2var_ps(old, reinterpret_cast<__m512i>(low), b);
  b = _mm512_permutex2var_ps(old, reinterpret_cast<__m512i>(high), b);
#else
  const vf old = a;
  if constexpr (half == 4) {
    a = _mm256_permute2f128_ps(old, b, 0x20);
    b = _mm256_permute2f128_ps(old, b, 0x31);
  } else if constexpr (half == 2) {
    a = _mm256_shuffle_ps(old, b, 0x44);
    b = _mm256_shuffle_ps(old, b, 0xee);
  } else {
    a = _mm256_blend_ps(old, _mm256_moveldup_ps(b), 0xaa);
    b = _mm256_blend_ps(_mm256_movehdup_ps(old), b, 0xaa);
  }
#endif
}

template <std::int64_t half>
DLT_INLINE void transpose_level(vf (&x)[kLanes]) {
#pragma GCC unroll 16
  for (std::int64_t i = 0; i < kLanes; ++i) {
    if ((i & half) == 0) swap_blocks<half>(x[i], x[i + half]);
  }
  if constexpr (half > 1) transpose_level<half / 2>(x);
}

/// dst[k * width + j] = src[j * ld + k] for k < depth and j < count; the columns from count to the
/// next whole vector become zero.
void pack_transposed(const float* src, std::int64_t ld, std::int64_t depth, std::int64_t count,
                     float* dst, std::int64_t width) {
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const std::int64_t rows = count - j < kLanes ? count - j : kLanes;
    for (std::int64_t k = 0; k < depth; k += kLanes) {
      const std::int64_t left = depth - k < kLanes ? depth - k : kLanes;
      vf x[kLanes];
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < kLanes; ++r) {
        x[r] = r < rows ? load_columns(src + (j + r) * ld + k, left) : vf{};
      }
      transpose_level<kLanes / 2>(x);
      float* out = dst + k * width + j;
      if (left == kLanes) {
#pragma GCC unroll 16
        for (std::int64_t r = 0; r < kLanes; ++r) store(out + r * width, x[r]);
      } else {
        for (std::int64_t r = 0; r < left; ++r) store(out + r * width, x[r]);
      }
    }
  }
}

/// dst[k * width + j] = src[k * ld + j], and zeros up to the width.
void pack_rows(const float* src, std::int64_t ld, std::int64_t depth, std::int64_t count,
               float* dst, std::int64_t width) {
  if (count == kWide) {
    for (std::int64_t k = 0; k < depth; ++k) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) store(dst + j * kLanes, load(src + j * kLanes));
      src += ld;
      dst += kWide;
    }
    return;
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < width; j += kLanes) {
      store(dst + k * width + j, load_columns(src + k * ld + j, count - j));
    }
  }
}

/// dst[k * rows + i] = src[k * ld + i]: a panel of a stored [k,m].
void pack_a(const float* src, std::int64_t ld, std::int64_t depth, std::int64_t rows, float* dst) {
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t i = 0; i < rows; i += kLanes) {
      store_columns(dst + k * rows + i, load_columns(src + k * ld + i, rows - i), rows - i);
    }
  }
}

std::int64_t pieces(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

/// Where piece `index` of `count` nearly equal ones begins.
std::int64_t begin_of(std::int64_t size, std::int64_t count, std::int64_t index) {
  const std::int64_t base = size / count, rest = size % count;
  return index * base + (index < rest ? index : rest);
}

std::int64_t vectors_of(std::int64_t columns) { return pieces(columns, kLanes); }

struct Block {
  const GemmArgs* g;
  std::int64_t k0, depth;
  bool first, last;
};

void pack_b_panel(const Block& block, std::int64_t j, std::int64_t columns, float* dst) {
  const GemmArgs& g = *block.g;
  const std::int64_t width = vectors_of(columns) * kLanes;
  if (g.trans_b) {
    pack_transposed(g.b + j * g.k + block.k0, g.k, block.depth, columns, dst, width);
  } else {
    pack_rows(g.b + block.k0 * g.n + j, g.n, block.depth, columns, dst, width);
  }
}

void multiply(const Block& block, std::int64_t i, std::int64_t rows, const float* packed_a,
              std::int64_t j, std::int64_t columns, const float* packed_b) {
  const GemmArgs& g = *block.g;
  Tile t{};
  const bool across = g.trans_a;
  if (packed_a != nullptr) {
    t.a = packed_a;
    t.a_stride = rows;
  } else if (across) {
    t.a = g.a + block.k0 * g.m + i;
    t.a_stride = g.m;
  } else {
    t.a = g.a + i * g.k + block.k0;
    t.a_stride = g.k;
  }
  t.b = packed_b;
  t.c = g.c + i * g.n + j;
  t.ldc = g.n;
  t.depth = block.depth;
  t.columns = columns;
  t.bias = g.bias != nullptr ? g.bias + j : nullptr;
  t.start = !block.first ? Start::sum : g.bias != nullptr ? Start::bias : Start::zero;
  t.relu = g.relu && block.last;
  const std::int64_t vectors = vectors_of(columns);
  (across ? tile_product_of<true>(rows, vectors) : tile_product_of<false>(rows, vectors))(t);
}

/// A stored [k,m] is read across its rows: packing pays once it is read often enough.
bool pays_to_pack_a(const GemmArgs& g) { return g.trans_a && g.n > 2 * kWide; }

/// Rows [i0, i1) of c, panels of b one after the other.
void columns_outside(const Block& block, std::int64_t i0, std::int64_t i1) {
  const GemmArgs& g = *block.g;
  const std::int64_t panels = pieces(i1 - i0, kRows);
  float* b_panel = g.scratch;
  float* a_block = g.scratch + block.depth * kWide;
  const bool pack = pays_to_pack_a(g);
  if (pack) {
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t i = begin_of(i1 - i0, panels, p), end = begin_of(i1 - i0, panels, p + 1);
      pack_a(g.a + block.k0 * g.m + i0 + i, g.m, block.depth, end - i, a_block + i * block.depth);
    }
  }
  for (std::int64_t j = 0; j < g.n; j += kWide) {
    const std::int64_t columns = g.n - j < kWide ? g.n - j : kWide;
    pack_b_panel(block, j, columns, b_panel);
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t i = begin_of(i1 - i0, panels, p), end = begin_of(i1 - i0, panels, p + 1);
      multiply(block, i0 + i, end - i, pack ? a_block + i * block.depth : nullptr, j, columns,
               b_panel);
    }
  }
}

/// Columns [j0, j1) of c, panels of a one after the other.
void rows_outside(const Block& block, std::int64_t j0, std::int64_t j1) {
  const GemmArgs& g = *block.g;
  const std::int64_t panels = pieces(g.m, kRows);
  float* a_panel = g.scratch;
  float* b_block = g.scratch + block.depth * kWide;
  const bool pack = pays_to_pack_a(g);
  for (std::int64_t j = j0; j < j1; j += kWide) {
    pack_b_panel(block, j, j1 - j < kWide ? j1 - j : kWide, b_block + (j - j0) * block.depth);
  }
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t i = begin_of(g.m, panels, p), end = begin_of(g.m, panels, p + 1);
    if (pack) pack_a(g.a + block.k0 * g.m + i, g.m, block.depth, end - i, a_panel);
    for (std::int64_t j = j0; j < j1; j += kWide) {
      multiply(block, i, end - i, pack ? a_panel : nullptr, j, j1 - j < kWide ? j1 - j : kWide,
               b_block + (j - j0) * block.depth);
    }
  }
}

}  // namespace

void gemm(const GemmArgs& g) {
  if (g.m == 1 || g.n == 1) return thin_gemm(g);
  const std::int64_t blocks = g.k > 0 ? pieces(g.k, kDepth) : 1;
  for (std::int64_t index = 0; index < blocks; ++index) {
    const std::int64_t k0 = begin_of(g.k, blocks, index);
    const Block block{&g, k0, begin_of(g.k, blocks, index + 1) - k0, index == 0,
                      index + 1 == blocks};
    if (g.n >= g.m) {
      for (std::int64_t i = 0; i < g.m; i += kInner) {
        columns_outside(block, i, i + kInner < g.m ? i + kInner : g.m);
      }
    } else {
      for (std::int64_t j = 0; j < g.n; j += kInner) {
        const std::int64_t end = j + kInner;
        rows_outside(block, j, end < g.n ? end : g.n);
      }
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Matrix product after Goto and van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication": a tile of c stays in registers while k runs, panels of b are packed so that a
// tile reads them in sequence from the first-level cache. a is read where it lies if its rows run
// along k, and packed if not. The larger side of c is the outer loop and packed a panel at a time.
#include "backend/cpu/gemm.h"

#include "backend/cpu/gemm_pack.h"
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
constexpr std::int64_t kAhead = 8;                 // rows of b to prefetch
constexpr std::int64_t kDepth = kGemmDepth, kInner = kGemmInner;
static_assert(kWide <= kGemmWidest);

enum class Start : std::uint8_t { zero, bias, sum };

struct Tile {
  const float* a;
  std::int64_t a_stride;  // from row to row, or (across) from k to k
  const float* b;
  std::int64_t b_stride;  // from k to k
  float* b_copy;          // copies: where the panel goes
  float* c;
  std::int64_t ldc;
  std::int64_t depth;
  std::int64_t columns;  // valid ones, <= NV * kLanes
  const float* bias;
  Start start;
  bool relu;
};

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

/// How a tile reads its operands.
enum class Access : std::uint8_t {
  rows,    // the numbers of one row of a lie side by side, rows a_stride apart
  across,  // the MR numbers of one k lie side by side
  copies,  // as rows; b is read where it lies, and packed on the way for the tiles that follow
};

/// One tile of MR rows and NV vectors.
template <int MR, int NV, Access access>
__attribute__((noinline)) void tile_product(const Tile& t) {
  vf sums[MR][NV];
  start_tile<MR, NV>(t, sums);
  const float* a = t.a;
  const float* b = t.b;
  float* copy = t.b_copy;
  const std::int64_t stride = t.a_stride;
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < t.depth; ++k) {
    vf columns[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      columns[j] = load(b + j * kLanes);
      if (access == Access::copies) {
        store(copy + j * kLanes, columns[j]);
        __builtin_prefetch(b + kAhead * t.b_stride + j * kLanes);
      }
    }
    b += access == Access::copies ? t.b_stride : NV * kLanes;
    copy += NV * kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const vf row = set1(access == Access::across ? a[i] : a[i * stride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sums[i][j] = fma(row, columns[j], sums[i][j]);
    }
    a += access == Access::across ? stride : 1;
  }
  finish_tile<MR, NV>(t, sums);
}

template <int MR>
void run_tile(const Tile& t, std::int64_t vectors, Access access) {
  if (access == Access::copies) return tile_product<MR, kVectors, Access::copies>(t);
  const bool across = access == Access::across;
  if (vectors == 1) {
    return across ? tile_product<MR, 1, Access::across>(t) : tile_product<MR, 1, Access::rows>(t);
  }
  if (vectors == 2) {
    return across ? tile_product<MR, 2, Access::across>(t) : tile_product<MR, 2, Access::rows>(t);
  }
  return across ? tile_product<MR, kVectors, Access::across>(t)
                : tile_product<MR, kVectors, Access::rows>(t);
}

void run_tile(const Tile& t, std::int64_t rows, std::int64_t vectors, Access access) {
  switch (rows) {
    case 1:
      return run_tile<1>(t, vectors, access);
    case 2:
      return run_tile<2>(t, vectors, access);
    case 3:
      return run_tile<3>(t, vectors, access);
    case 4:
      return run_tile<4>(t, vectors, access);
    case 5:
      return run_tile<5>(t, vectors, access);
    case 6:
      return run_tile<6>(t, vectors, access);
#ifdef __AVX512F__
    case 7:
      return run_tile<7>(t, vectors, access);
    case 8:
      return run_tile<8>(t, vectors, access);
    case 9:
      return run_tile<9>(t, vectors, access);
#endif
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

/// Part of a block: rows [i, i + rows) and columns [j, j + columns) of c.
struct Part {
  std::int64_t i, rows, j, columns;
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

/// packed_a may be null. copies: packed_b is written, not read.
void multiply(const Block& block, const Part& part, const float* packed_a, float* packed_b,
              bool copies = false) {
  const GemmArgs& g = *block.g;
  Tile t{};
  if (packed_a != nullptr) {
    t.a = packed_a;
    t.a_stride = part.rows;
  } else if (g.trans_a) {
    t.a = g.a + block.k0 * g.m + part.i;
    t.a_stride = g.m;
  } else {
    t.a = g.a + part.i * g.k + block.k0;
    t.a_stride = g.k;
  }
  t.b = copies ? g.b + block.k0 * g.n + part.j : packed_b;
  t.b_stride = g.n;
  t.b_copy = packed_b;
  t.c = g.c + part.i * g.n + part.j;
  t.ldc = g.n;
  t.depth = block.depth;
  t.columns = part.columns;
  t.bias = g.bias != nullptr ? g.bias + part.j : nullptr;
  t.start = !block.first ? Start::sum : g.bias != nullptr ? Start::bias : Start::zero;
  t.relu = g.relu && block.last;
  const Access access = copies ? Access::copies : g.trans_a ? Access::across : Access::rows;
  run_tile(t, part.rows, vectors_of(part.columns), access);
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
      pack_across(g.a + block.k0 * g.m + i0 + i, g.m, block.depth, end - i,
                  a_block + i * block.depth);
    }
  }
  for (std::int64_t j = 0; j < g.n; j += kWide) {
    const std::int64_t columns = g.n - j < kWide ? g.n - j : kWide;
    const bool copies = !g.trans_a && !g.trans_b && columns == kWide;
    if (!copies) pack_b_panel(block, j, columns, b_panel);
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t i = begin_of(i1 - i0, panels, p), end = begin_of(i1 - i0, panels, p + 1);
      multiply(block, {i0 + i, end - i, j, columns}, pack ? a_block + i * block.depth : nullptr,
               b_panel, copies && p == 0);
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
    if (pack) pack_across(g.a + block.k0 * g.m + i, g.m, block.depth, end - i, a_panel);
    for (std::int64_t j = j0; j < j1; j += kWide) {
      multiply(block, {i, end - i, j, j1 - j < kWide ? j1 - j : kWide}, pack ? a_panel : nullptr,
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
    const bool wide = g.n >= g.m;
    const std::int64_t inner = wide ? g.m : g.n, parts = pieces(inner, kInner);
    for (std::int64_t p = 0; p < parts; ++p) {
      const std::int64_t begin = begin_of(inner, parts, p), end = begin_of(inner, parts, p + 1);
      wide ? columns_outside(block, begin, end) : rows_outside(block, begin, end);
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

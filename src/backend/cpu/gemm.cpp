// SPDX-License-Identifier: Apache-2.0
// Matrix product after Goto and van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication". A block of rows of a stays in the second-level cache while panels of b, packed
// so that a tile reads them in sequence, pass by one after the other. a is read where it lies if
// its rows run along k, and packed if not. Where c has one block of rows, a panel of b is packed
// when it is needed; where it has several, the first packs for the others.
#include "backend/cpu/gemm.h"

#include "backend/cpu/bf16_unit.h"
#include "backend/cpu/gemm_pack.h"
#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {
namespace {

template <int MR, int NV>
void run_tile(const Tile& t, Access access) {
  const bool copies = t.b_copy != nullptr;
  if (access == Access::across) {
    return copies ? tile_product<MR, NV, Access::across, true>(t)
                  : tile_product<MR, NV, Access::across, false>(t);
  }
  return copies ? tile_product<MR, NV, Access::rows, true>(t)
                : tile_product<MR, NV, Access::rows, false>(t);
}

template <int MR>
void run_tile(const Tile& t, std::int64_t vectors, Access access) {
  if (vectors == 1) return run_tile<MR, 1>(t, access);
  if (vectors == 2) return run_tile<MR, 2>(t, access);
  return run_tile<MR, kVectors>(t, access);
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

/// A number of things cut into nearly equal pieces of at most `most`; at least one piece.
struct Cut {
  std::int64_t size, count;
  Cut(std::int64_t size_, std::int64_t most)
      : size(size_), count(size_ > 0 ? pieces(size_, most) : 1) {}
  [[nodiscard]] std::int64_t begin(std::int64_t index) const {
    return begin_of(size, count, index);
  }
  [[nodiscard]] std::int64_t length(std::int64_t index) const {
    return begin(index + 1) - begin(index);
  }
};

/// How a product is cut: a pure function of its sizes. Packed b holds the pieces of k one after the
/// other, each as its panels one after the other.
struct Cuts {
  Cut vectors;  // of columns, into panels
  Cut depth;    // k
  Cut rows;     // m, into blocks
  explicit Cuts(const GemmArgs& g)
      : vectors(pieces(g.n, kLanes), kVectors),
        depth(g.k, gemm_block().depth),
        rows(g.m, gemm_block().rows) {}
};

/// Columns [j, j + columns) of b, in whole vectors.
struct Panel {
  std::int64_t j, columns, vectors;
  [[nodiscard]] std::int64_t width() const { return vectors * kLanes; }
};

Panel panel_of(const GemmArgs& g, const Cut& vectors, std::int64_t index) {
  const std::int64_t j = vectors.begin(index) * kLanes, count = vectors.length(index);
  const std::int64_t left = g.n - j;
  return {j, left < count * kLanes ? left : count * kLanes, count};
}

void pack_b_panel(const GemmArgs& g, const Panel& panel, std::int64_t k0, std::int64_t depth,
                  float* dst) {
  if (g.trans_b) {
    pack_transposed(g.b + panel.j * g.ldb + k0, g.ldb, depth, panel.columns, dst, panel.width());
  } else {
    pack_rows(g.b + k0 * g.ldb + panel.j, g.ldb, depth, panel.columns, dst, panel.width());
  }
  if (g.precision != Precision::f32) round_floats(dst, depth * panel.width(), dst);
}

/// a is read where it lies, but for two cases: stored [k,m] with its rows far apart, or stored
/// [m,k] with its rows so far apart that they compete for the same lines of the cache; and many
/// panels of b read it.
bool pays_to_pack_a(const GemmArgs& g) {
  constexpr std::int64_t kFar = 256, kOften = 192, kSameLines = 1024, kVeryOften = 512;
  if (g.trans_a) return g.n > kOften && g.lda > kFar;
  return g.n > kVeryOften && g.lda % kSameLines == 0;
}

/// Without instructions for bf16 the copies of the operands are rounded, and multiplied as f32.
/// context  the GemmArgs that are asked for the panel
APanel rounded_panel(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                     std::int64_t depth, float* room) {
  const GemmArgs& g = *static_cast<const GemmArgs*>(context);
  APanel panel{g.trans_a ? g.a + k0 * g.lda + i : g.a + i * g.lda + k0, g.lda, g.trans_a};
  if (g.find_a_panel != nullptr) panel = g.find_a_panel(g.context, i, rows, k0, depth, room);
  const std::int64_t runs = panel.across ? depth : rows, length = panel.across ? rows : depth;
  for (std::int64_t r = 0; r < runs; ++r) {
    round_floats(panel.a + r * panel.stride, length, room + r * length);
  }
  return {room, length, panel.across};
}

constexpr std::int64_t kMostPanels = kGemmTall.rows / kRows + 1;

/// Some rows of c over one piece of k.
struct Block {
  const GemmArgs* g;
  std::int64_t i0;
  Cut rows;
  std::int64_t k0, depth;
  bool first, last;
  APanel panels[kMostPanels];
};

void find_panels(Block& block, float* room) {
  const GemmArgs& g = *block.g;
  const bool asks = g.find_a_panel != nullptr, pack = !asks && pays_to_pack_a(g);
  const float* a = asks        ? nullptr
                   : g.trans_a ? g.a + block.k0 * g.lda + block.i0
                               : g.a + block.i0 * g.lda + block.k0;
  for (std::int64_t p = 0; p < block.rows.count; ++p) {
    const std::int64_t i = block.rows.begin(p), rows = block.rows.length(p);
    float* panel = room + i * block.depth;
    if (asks) {
      block.panels[p] = g.find_a_panel(g.context, block.i0 + i, rows, block.k0, block.depth, panel);
    } else if (pack && g.trans_a) {
      pack_across(a + i, g.lda, block.depth, rows, panel);
      block.panels[p] = {panel, rows, true};
    } else if (pack) {
      for (std::int64_t r = 0; r < rows; ++r) {
        copy_row(a + (i + r) * g.lda, block.depth, panel + r * block.depth);
      }
      block.panels[p] = {panel, block.depth, false};
    } else {
      block.panels[p] = {g.trans_a ? a + i : a + i * g.lda, g.lda, g.trans_a};
    }
  }
}

void run_tile(const Block& block, const Panel& panel, std::int64_t rows, const Tile& t) {
  const GemmArgs& g = *block.g;
  const Access access = t.a.across ? Access::across : Access::rows;
  if (g.alpha == 1.0f || !g.accumulate) return run_tile(t, rows, panel.vectors, access);
  float product[kGemmRows * kGemmWidest];
  Tile apart = t;
  apart.from_zero = true;
  apart.c = product;
  apart.ldc = kGemmWidest;
  apart.alpha = g.alpha;
  apart.next_c = product;
  run_tile(apart, rows, panel.vectors, access);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < panel.columns; ++j) {
      t.c[i * t.ldc + j] += product[i * kGemmWidest + j];
    }
  }
}

/// Tiles [p0, p1) of the block's rows with one panel. copies: the first tile writes packed.
void multiply(const Block& block, const Panel& panel, float* packed, bool copies, std::int64_t p0,
              std::int64_t p1) {
  const GemmArgs& g = *block.g;
  Tile t;
  t.ldb = g.ldb;
  t.ldc = g.ldc;
  t.depth = block.depth;
  t.columns = panel.columns;
  t.alpha = block.last ? g.alpha : 1.0f;
  t.least = g.relu && block.last ? 0.0f : -__builtin_inff();
  for (std::int64_t p = p0; p < p1; ++p) {
    const bool copy = copies && p == p0;
    t.a = block.panels[p];
    t.b = copy ? g.b + block.k0 * g.ldb + panel.j : packed;
    t.b_copy = copy ? packed : nullptr;
    t.c = g.c + (block.i0 + block.rows.begin(p)) * g.ldc + panel.j;
    t.next_c = t.c + block.rows.length(p) * g.ldc;
    const bool sum = !block.first || g.accumulate, bias = !sum && g.bias != nullptr;
    t.before = bias ? g.bias + panel.j : t.c;
    t.before_stride = bias ? 0 : g.ldc;
    t.from_zero = !sum && !bias;
    run_tile(block, panel, block.rows.length(p), t);
  }
}

/// Panels [p0, p1) of columns and pieces [d0, d1) of k.
struct Area {
  std::int64_t p0, p1, d0, d1;
};

/// Where the packed panels of an area are: all of them side by side, or one after the other in one
/// place.
struct PackedB {
  float* memory;
  bool all;
  std::int64_t k0, j0, width;
  [[nodiscard]] float* at(const Block& block, const Panel& panel) const {
    if (!all) return memory;
    return memory + (block.k0 - k0) * width + (panel.j - j0) * block.depth;
  }
};

PackedB packed_of(const GemmArgs& g, const Cuts& cuts, const Area& area, float* room) {
  if (g.packed_b != nullptr) {
    return {const_cast<float*>(g.packed_b), true, 0, 0, cuts.vectors.size * kLanes};
  }
  const std::int64_t first = cuts.vectors.begin(area.p0), end = cuts.vectors.begin(area.p1);
  return {room, cuts.rows.count > 1, cuts.depth.begin(area.d0), first * kLanes,
          (end - first) * kLanes};
}

/// A block's panels of b one after the other, each with all rows; or, where k is short and c all
/// there is to move, its rows one tile after the other, so that c is written in the order of its
/// memory.
void run_block(const Block& block, const Cuts& cuts, const Area& area, const PackedB& b,
               bool pack) {
  constexpr std::int64_t kShort = 128;
  const GemmArgs& g = *block.g;
  const bool rows_first = b.all && g.k <= kShort;
  for (std::int64_t q = area.p0; q < area.p1; ++q) {
    const Panel panel = panel_of(g, cuts.vectors, q);
    float* packed = b.at(block, panel);
    const bool copies = pack && !rows_first && !g.trans_b && g.precision == Precision::f32 &&
                        panel.columns == panel.width();
    if (pack && !copies) pack_b_panel(g, panel, block.k0, block.depth, packed);
    if (!rows_first) multiply(block, panel, packed, copies, 0, block.rows.count);
  }
  for (std::int64_t p = 0; rows_first && p < block.rows.count; ++p) {
    for (std::int64_t q = area.p0; q < area.p1; ++q) {
      const Panel panel = panel_of(g, cuts.vectors, q);
      multiply(block, panel, b.at(block, panel), false, p, p + 1);
    }
  }
}

void run_area(const GemmArgs& g, const Cuts& cuts, const Area& area) {
  float* room_a = g.scratch;
  float* room_b = g.scratch + (cuts.rows.length(0) * cuts.depth.length(0) + 15) / 16 * 16;
  const PackedB b = packed_of(g, cuts, area, room_b);
  Block block{&g, 0, Cut(0, 1), 0, 0, false, false, {}};
  for (std::int64_t r = 0; r < cuts.rows.count; ++r) {
    block.i0 = cuts.rows.begin(r);
    block.rows = Cut(cuts.rows.length(r), kRows);
    for (std::int64_t d = area.d0; d < area.d1; ++d) {
      block.k0 = cuts.depth.begin(d);
      block.depth = cuts.depth.length(d);
      block.first = d == 0;
      block.last = d + 1 == cuts.depth.count;
      find_panels(block, room_a);
      run_block(block, cuts, area, b, g.packed_b == nullptr && (!b.all || r == 0));
    }
  }
}

GemmArgs with_strides(const GemmArgs& args) {
  GemmArgs g = args;
  if (g.lda == 0) g.lda = g.trans_a ? g.m : g.k;
  if (g.ldb == 0) g.ldb = g.trans_b ? g.k : g.n;
  if (g.ldc == 0) g.ldc = g.n;
  return g;
}

bool is_thin(const GemmArgs& g) {
  const bool dense = g.lda == 0 && g.ldb == 0 && g.ldc == 0;
  const bool plain = g.packed_b == nullptr && g.find_a_panel == nullptr;
  return (g.m == 1 || g.n == 1) && dense && plain && g.precision == Precision::f32 &&
         g.alpha == 1.0f && !g.accumulate;
}

}  // namespace

bool uses_bf16_unit(const GemmArgs& g) {
#ifdef __AVX512F__
  return g.precision == Precision::bf16 && bf16_unit() != Bf16Unit::none;
#else
  (void)g;
  return false;
#endif
}

void gemm(const GemmArgs& args) {
  if (uses_bf16_unit(args)) return avx512_bf16::bf16_gemm(args, bf16_unit());
  if (is_thin(args)) return thin_gemm(args);
  if (args.m == 0 || args.n == 0) return;
  const GemmArgs plain = with_strides(args);
  GemmArgs g = plain;
  if (g.precision != Precision::f32) {
    g.find_a_panel = rounded_panel;
    g.context = &plain;
  }
  const Cuts cuts(g);
  constexpr std::int64_t kPanels = kGemmBlockWidth / kGemmWidest;
  constexpr std::int64_t kPieces = kGemmBlockDepth / kGemmDeep.depth;
  for (std::int64_t p = 0; p < cuts.vectors.count; p += kPanels) {
    for (std::int64_t d = 0; d < cuts.depth.count; d += kPieces) {
      const std::int64_t p1 = p + kPanels, d1 = d + kPieces;
      run_area(g, cuts,
               {p, p1 < cuts.vectors.count ? p1 : cuts.vectors.count, d,
                d1 < cuts.depth.count ? d1 : cuts.depth.count});
    }
  }
}

void gemm_batch(const GemmBatch& batch) {
  GemmArgs g = batch.first;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    gemm(g);
    g.a += batch.a_step;
    g.b += batch.b_step;
    g.c += batch.c_step;
  }
}

void pack_b(const GemmArgs& args, float* packed) {
  if (uses_bf16_unit(args)) return avx512_bf16::bf16_pack_b(args, packed);
  GemmArgs g = with_strides(args);
  g.m = 0;  // packed for any number of rows
  const Cuts cuts(g);
  const std::int64_t whole = cuts.vectors.size * kLanes;
  for (std::int64_t d = 0; d < cuts.depth.count; ++d) {
    const std::int64_t k0 = cuts.depth.begin(d), depth = cuts.depth.length(d);
    for (std::int64_t p = 0; p < cuts.vectors.count; ++p) {
      const Panel panel = panel_of(g, cuts.vectors, p);
      pack_b_panel(g, panel, k0, depth, packed + k0 * whole + panel.j * depth);
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Products whose operands are rounded to bf16 while they are packed and whose sums are f32. b is
// packed for some numbers of k at a time, then 32 rows of a (many rows, where they lie across) that
// stay in the first-level cache while b passes by; corners of 32 by 32 of c are summed in the
// registers of the unit that this processor has (bf16_unit.h).
#include "backend/cpu/bf16_pack.h"
#include "backend/cpu/bf16_tile.h"
#include "backend/cpu/bf16_unit.h"
#include "backend/cpu/gemm.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kDepth = kBf16Depth, kRows = kBf16Rows, kWidth = kBf16Width;
constexpr std::int64_t kCorner = 2 * kSide;
static_assert(kSide <= kGemmRows);

std::int64_t least(std::int64_t x, std::int64_t y) { return x < y ? x : y; }
std::int64_t blocks_of(std::int64_t size, std::int64_t side) { return (size + side - 1) / side; }

using Bits = std::uint16_t;

/// Numbers of k at a time: nearly equal pieces, in whole blocks.
std::int64_t piece_of(std::int64_t k) {
  const std::int64_t pieces = blocks_of(k, kDepth);
  return pieces > 0 ? blocks_of(blocks_of(k, pieces), kBlockDepth) * kBlockDepth : kDepth;
}

/// A part of a product: columns [j0, j1) and k in [k0, k0 + depth).
struct Part {
  const GemmArgs* g;
  std::int64_t j0, j1, k0, depth;
  Bits *a, *b;
  const float* bias;  // of column j0 on, padded with zeros; or null
  float* room;        // of a caller's panel
  [[nodiscard]] std::int64_t blocks() const { return blocks_of(depth, kBlockDepth); }
  [[nodiscard]] bool first() const { return k0 == 0; }
  [[nodiscard]] bool last() const { return k0 + depth == g->k; }
};

void pack_a_rows(const Part& part, std::int64_t i0, std::int64_t i1) {
  const GemmArgs& g = *part.g;
  if (g.find_a_panel == nullptr) {
    const float* src = g.trans_a ? g.a + part.k0 * g.lda + i0 : g.a + i0 * g.lda + part.k0;
    return pack_a_strips({src, g.lda, g.trans_a, i1 - i0, part.depth}, part.a);
  }
  const std::int64_t strip = part.blocks() * kBlock;
  for (std::int64_t i = i0; i < i1; i += kSide) {
    const std::int64_t rows = least(i1 - i, kSide);
    const APanel panel = g.find_a_panel(g.context, i, rows, part.k0, part.depth, part.room);
    pack_a_strips({panel.a, panel.stride, panel.across, rows, part.depth},
                  part.a + (i - i0) / kSide * strip);
  }
}

void pack_b_columns(const GemmArgs& g, std::int64_t j0, std::int64_t j1, std::int64_t k0,
                    std::int64_t depth, Bits* dst) {
  const float* src = g.trans_b ? g.b + j0 * g.ldb + k0 : g.b + k0 * g.ldb + j0;
  pack_b_strips({src, g.ldb, !g.trans_b, j1 - j0, depth}, dst);
}

/// c = least(alpha · sums + before), element by element.
void write_out(const Part& part, const float* sums, std::int64_t i, std::int64_t j,
               std::int64_t rows, std::int64_t columns) {
  const GemmArgs& g = *part.g;
  const bool add = g.alpha != 1.0f && (!part.first() || g.accumulate);
  const bool bias = g.alpha != 1.0f && part.first() && part.bias != nullptr;
  const vf alpha = set1(g.alpha), floor = set1(g.relu && part.last() ? 0.0f : -__builtin_inff());
  for (std::int64_t r = 0; r < rows; ++r) {
    float* c = g.c + (i + r) * g.ldc + j;
    for (std::int64_t x = 0; x < columns; x += kLanes) {
      const std::int64_t count = columns - x;
      vf y = load(sums + r * kCorner + x) * alpha;
      if (add) y += load_some(c + x, count);
      if (bias) y += load_some(part.bias + (j - part.j0) + x, count);
      store_some(c + x, max(floor, y), count);
    }
  }
}

void run_corner(const Corner& t, std::int64_t rows, std::int64_t columns, bool amx) {
  const bool high = rows > kSide, wide = columns > kSide;
  if (amx) {
    high ? (wide ? corner_amx<2, 2>(t) : corner_amx<2, 1>(t))
         : (wide ? corner_amx<1, 2>(t) : corner_amx<1, 1>(t));
  } else {
    high ? (wide ? corner_avx512<2, 2>(t) : corner_avx512<2, 1>(t))
         : (wide ? corner_avx512<1, 2>(t) : corner_avx512<1, 1>(t));
  }
}

/// Rows [i, i + rows) and columns [j, j + columns), at most 32 of each.
void multiply(const Part& part, const Bits* a, const Bits* b, std::int64_t i, std::int64_t rows,
              std::int64_t j, std::int64_t columns, bool amx) {
  const GemmArgs& g = *part.g;
  alignas(64) float apart[kCorner * kCorner];
  const std::int64_t strip = part.blocks() * kBlock;
  Corner t{{a, a + strip}, {b, b + strip}, part.blocks(), g.c + i * g.ldc + j, g.ldc, nullptr, 0};
  const bool sum = !part.first() || g.accumulate;
  const bool whole = rows % kSide == 0 && columns % kSide == 0;
  const bool direct = whole && g.alpha == 1.0f && !(g.relu && part.last());
  if (g.alpha == 1.0f && sum) {
    t.before = t.c;
    t.before_stride = g.ldc;
  } else if (g.alpha == 1.0f && part.bias != nullptr) {
    t.before = part.bias + (j - part.j0);
  }
  if (!direct) {
    if (t.before == t.c) {  // only what is valid may be read
      for (std::int64_t r = 0; r < kCorner; ++r) {
        for (std::int64_t x = 0; x < kCorner; ++x) {
          apart[r * kCorner + x] = r < rows && x < columns ? t.c[r * g.ldc + x] : 0.0f;
        }
      }
      t.before = apart;
      t.before_stride = kCorner;
    }
    t.c = apart;
    t.ldc = kCorner;
  }
  run_corner(t, rows, columns, amx);
  if (!direct) write_out(part, apart, i, j, rows, columns);
}

void run_part(const Part& part, const Bits* packed_b, bool amx) {
  const GemmArgs& g = *part.g;
  const std::int64_t strip = part.blocks() * kBlock;
  if (g.packed_b == nullptr) pack_b_columns(g, part.j0, part.j1, part.k0, part.depth, part.b);
  const std::int64_t most = g.trans_a && g.find_a_panel == nullptr ? kRows : kCorner;
  for (std::int64_t i0 = 0; i0 < g.m; i0 += most) {
    const std::int64_t i1 = least(i0 + most, g.m);
    pack_a_rows(part, i0, i1);
    for (std::int64_t i = i0; i < i1; i += kCorner) {
      const Bits* a = part.a + (i - i0) / kSide * strip;
      for (std::int64_t j = part.j0; j < part.j1; j += kCorner) {
        multiply(part, a, packed_b + (j - part.j0) / kSide * strip, i, least(i1 - i, kCorner), j,
                 least(part.j1 - j, kCorner), amx);
      }
    }
  }
}

void pad_bias(const float* bias, std::int64_t count, float* padded) {
  for (std::int64_t x = 0; x < kWidth; x += kLanes) {
    store(padded + x, load_part(bias + x, count - x));
  }
}

GemmArgs with_strides(const GemmArgs& args) {
  GemmArgs g = args;
  if (g.lda == 0) g.lda = g.trans_a ? g.m : g.k;
  if (g.ldb == 0) g.ldb = g.trans_b ? g.k : g.n;
  if (g.ldc == 0) g.ldc = g.n;
  return g;
}

}  // namespace

void bf16_gemm(const GemmArgs& args, Bf16Unit unit) {
  if (args.m == 0 || args.n == 0) return;
  const GemmArgs g = with_strides(args);
  const bool amx = unit == Bf16Unit::amx;
  if (amx) {
    const TileConfig config;
    _tile_loadconfig(&config);
  }
  float* room = g.scratch;
  float* bias = room + kGemmRows * kDepth;
  auto* a = reinterpret_cast<Bits*>(bias + kWidth);
  Bits* b = a + blocks_of(least(g.m, kRows), kSide) * kSide *
                    (blocks_of(least(g.k, kDepth), kBlockDepth) * kBlockDepth);
  const std::int64_t column_blocks = blocks_of(g.n, kSide), piece = piece_of(g.k);
  for (std::int64_t j = 0; j < g.n; j += kWidth) {
    if (g.bias != nullptr) pad_bias(g.bias + j, g.n - j, bias);
    for (std::int64_t k = 0; k < g.k || k == 0; k += piece) {
      const Part part{&g,
                      j,
                      least(j + kWidth, g.n),
                      k,
                      least(g.k - k, piece),
                      a,
                      b,
                      g.bias != nullptr ? bias : nullptr,
                      room};
      const Bits* packed = b;
      if (g.packed_b != nullptr) {
        packed = reinterpret_cast<const Bits*>(g.packed_b) + k * column_blocks * kSide +
                 j / kSide * part.blocks() * kBlock;
      }
      run_part(part, packed, amx);
    }
  }
  if (amx) _tile_release();
}

void bf16_pack_b(const GemmArgs& args, float* packed) {
  const GemmArgs g = with_strides(args);
  const std::int64_t column_blocks = blocks_of(g.n, kSide), piece = piece_of(g.k);
  auto* dst = reinterpret_cast<Bits*>(packed);
  for (std::int64_t k = 0; k < g.k; k += piece) {
    const std::int64_t depth = least(g.k - k, piece);
    pack_b_columns(g, 0, g.n, k, depth, dst + k * column_blocks * kSide);
  }
}

}  // namespace dlt::cpu::DLT_ISA

// SPDX-License-Identifier: Apache-2.0
// Products of f32 matrices on one core. Every routine of one instruction set may call gemm() of its
// own namespace.
#pragma once

#include <cstdint>

#include "backend/cpu/bf16_unit.h"

namespace dlt::cpu {

/// What the operands of a product are rounded to while they are packed; its sums are f32. bf16
/// takes the unit of this processor (bf16_unit.h) and else is bf16_emulated: f32 instructions on
/// rounded operands.
enum class Precision : std::uint8_t { f32, bf16, bf16_emulated };

/// Rows [i, i + rows) of a over depth numbers of k, in one of two forms.
struct APanel {
  const float* a = nullptr;
  std::int64_t stride = 0;
  bool across = false;  // row r, k: a[k * stride + r] (across) or a[r * stride + k]
};

/// Finds or writes a panel of a: rows [i, i + rows) with rows <= kGemmRows, k in [k0, k0 + depth).
/// room  rows * depth floats that the panel may be written to: stride is then rows (across) or
/// depth Each panel is asked for once for all columns (once in each 1008 of them), in any order.
using FindAPanel = APanel (*)(const void* context, std::int64_t i, std::int64_t rows,
                              std::int64_t k0, std::int64_t depth, float* room);

/// c = alpha · op(a) · op(b) + bias (+ c), then relu; one thread. Each element is one chain of
/// fused multiply-adds in ascending k, that begins with the bias, c or 0; so its bits depend
/// neither on the blocking nor on how an operand is handed over (but for alpha other than 1, which
/// multiplies the finished chain, and that of each piece of k if accumulate is set). shapes
/// op(a) [m,k], op(b) [k,n], c [m,n] apart from a and b, bias [n] or null scratch 64-byte aligned,
/// gemm_scratch_floats() long
struct GemmArgs {
  std::int64_t m = 0, n = 0, k = 0;
  bool trans_a = false;  // a is stored [k,m]
  bool trans_b = false;  // b is stored [n,k]
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  std::int64_t lda = 0, ldb = 0, ldc = 0;  // floats from stored row to stored row; 0: dense
  const float* bias = nullptr;
  bool relu = false;
  bool accumulate = false;  // c is added to; not together with a bias
  float alpha = 1;
  Precision precision = Precision::f32;
  const float* packed_b = nullptr;    // by pack_b() of the same n, k, precision; b is not read
  FindAPanel find_a_panel = nullptr;  // a and trans_a are not read
  const void* context = nullptr;      // of find_a_panel
  float* scratch = nullptr;
};

/// `count` products of the same form; operand x of product i lies x_step · i floats behind the
/// first.
struct GemmBatch {
  GemmArgs first;
  std::int64_t count = 0, a_step = 0, b_step = 0, c_step = 0;
};

#define DLT_GEMM_ROUTINES                                                                     \
  void gemm(const GemmArgs& g);                                                               \
  void gemm_batch(const GemmBatch& batch);                                                    \
  /* Copies b of g (n, k, trans_b, b, ldb, precision are read) into the order in which        \
     products read it, for use many times: gemm_packed_b_floats() floats, 64-byte aligned. */ \
  void pack_b(const GemmArgs& g, float* packed);                                              \
  bool uses_bf16_unit(const GemmArgs& g);                                                     \
  void thin_gemm(const GemmArgs& g); /* m == 1 or n == 1; dense, f32, alpha 1, no accumulate */
namespace avx2 {
DLT_GEMM_ROUTINES
}
namespace avx512 {
DLT_GEMM_ROUTINES
}
#undef DLT_GEMM_ROUTINES
namespace avx512_bf16 {  // where bf16_unit() is not none
void bf16_gemm(const GemmArgs& g, Bf16Unit unit);
void bf16_pack_b(const GemmArgs& g, float* packed);
}  // namespace avx512_bf16

constexpr std::int64_t kGemmRows = 16;    // most rows of a panel of a
constexpr std::int64_t kGemmWidest = 48;  // columns of the widest tile

/// What of a is multiplied at a time. It stays in the L2 cache: rows times depth is 516 KiB.
struct GemmBlock {
  std::int64_t depth, rows;  // longest run along k; rows, a multiple of those of a tile
};
constexpr GemmBlock kGemmTall{264, 504};  // Intel's processors
constexpr GemmBlock kGemmDeep{384, 336};  // AMD's: c passes by less often (docs/performance.md)
const GemmBlock& gemm_block();            // of this processor: one of the two

constexpr std::int64_t kGemmBlockDepth = 1152;  // of b that is packed at a time, where
constexpr std::int64_t kGemmBlockWidth = 1008;  // more than one block of rows needs it

constexpr std::int64_t kBf16Depth = 384;   // the same of products in bf16: k,
constexpr std::int64_t kBf16Rows = 512;    // rows of a
constexpr std::int64_t kBf16Width = 1024;  // and columns of b at a time

namespace gemm_size {
constexpr std::int64_t least(std::int64_t x, std::int64_t y) { return x < y ? x : y; }
constexpr std::int64_t whole(std::int64_t x, std::int64_t unit) {
  return (x + unit - 1) / unit * unit;
}
}  // namespace gemm_size

/// Enough in each precision.
constexpr std::int64_t gemm_packed_b_floats(std::int64_t n, std::int64_t k) {
  return gemm_size::whole(n, 16) * gemm_size::whole(k, 32);
}

/// What pack_b() writes where uses_bf16_unit().
constexpr std::int64_t gemm_packed_bf16_bytes(std::int64_t n, std::int64_t k) {
  return gemm_size::whole(n, 16) * gemm_size::whole(k, 32) * 2;
}

/// f32: a block of a, and a panel or a block of b. bf16: blocks of both at half the size, a panel
/// and a bias. bf16_emulated: as f32, and a copy of b.
constexpr std::int64_t gemm_scratch_floats(std::int64_t m, std::int64_t n, std::int64_t k,
                                           Precision precision = Precision::f32) {
  using gemm_size::least;
  using gemm_size::whole;
  const std::int64_t depth = least(k, kGemmDeep.depth), wide = whole(n, 16);
  const std::int64_t b = m <= kGemmDeep.rows
                             ? depth * kGemmWidest
                             : least(k, kGemmBlockDepth) * least(wide, kGemmBlockWidth);
  const std::int64_t f32 = (least(m, kGemmTall.rows) + 16) * depth + b + 64;
  if (precision == Precision::f32) return f32;
  const std::int64_t deep = whole(least(k, kBf16Depth), 32);
  const std::int64_t blocks = (least(whole(m, 16), kBf16Rows) + least(wide, kBf16Width)) * deep / 2;
  const std::int64_t bf16 = blocks + kGemmRows * kBf16Depth + kBf16Width + 64;
  return bf16 < f32 ? f32 : bf16;
}

}  // namespace dlt::cpu

// SPDX-License-Identifier: Apache-2.0
// The derivative of attention: for a block of keys, all blocks of queries that see it. The
// probabilities P come from the scores and the log-sum-exp; with D = rowsum(dy y)
//   dV = P^T dy,  dS = P (dy V^T - D),  dQ = dS K scale,  dK = dS^T Q scale.
#include "backend/cpu/attention.h"
#include "backend/cpu/attention_tile.h"
#include "backend/cpu/map.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kBlock = kAttentionBlock;
constexpr std::int64_t kRow = kBlock + kAttentionLanes;  // of probabilities in scratch

struct Memory {
  float *keys_t, *values_t;        // panels, size x kBlock
  float *keys, *dk, *dv, *q, *dy;  // kBlock rows
  float *probabilities, *slopes;   // kBlock rows: P and dS
  float *dq, *factors, *dots;
  Memory(float* scratch, std::int64_t size) {
    const std::int64_t wide = attention_padded(size, kAttentionLanes);
    keys_t = scratch;
    values_t = keys_t + kBlock * size;
    keys = values_t + kBlock * size;
    dk = keys + kBlock * wide;
    dv = dk + kBlock * wide;
    q = dv + kBlock * wide;
    dy = q + kBlock * wide;
    probabilities = dy + kBlock * wide;
    slopes = probabilities + kBlock * kRow;
    dq = slopes + kBlock * kRow;
    factors = dq + kStrip * wide;
    dots = factors + kBlock;
  }
};

/// Queries [i0, i0 + rows) of a head against keys [j0, j0 + cols).
struct Block {
  HeadOf head;
  std::int64_t i0, rows, j0, cols;
  float scale;
  const float* dots;  // D of the head's rows

  /// How many of the block's keys row i of the block sees at most.
  [[nodiscard]] std::int64_t seen_by(std::int64_t i) const {
    const std::int64_t before = i0 + i + 1 - j0;
    return head.a->causal && before < cols ? before : cols;
  }
};

/// P over the scores and dS over dy V^T.
void slope_row(const Block& block, const Memory& m, std::int64_t r, std::int64_t padded) {
  const AttentionArgs& a = *block.head.a;
  const std::int64_t i = block.i0 + r, valid = block.seen_by(r);
  float *p = m.probabilities + r * kRow, *ds = m.slopes + r * kRow;
  const float* mask = block.head.mask() == nullptr ? nullptr : block.head.mask() + block.j0;
  const vf shift = set1(block.head.lse()[i] * kLog2e), dot = set1(block.dots[i]);
  const bool drops = a.threshold != 0;
  if (drops) block.head.factors(i, block.j0, valid, m.factors);
  for (std::int64_t j = 0; j < padded; j += kLanes) {
    vf e = power_of_two(load(p + j) - shift);
    if (mask != nullptr || j + kLanes > valid) e = select(seen(j, valid, mask), e, vf{});
    if (drops) {
      const vf factor = load(m.factors + j);
      const vf slope = e * fma(load(ds + j), factor, -dot);
      store(p + j, select(e == 0.0f, vf{}, e * factor));
      store(ds + j, select(e == 0.0f, vf{}, slope));
    } else {
      store(p + j, e);
      store(ds + j, e * (load(ds + j) - dot));
    }
  }
}

/// dqkv's q rows (+)= scale · dq
void add_queries(const Block& block, const Memory& m, std::int64_t r0) {
  const AttentionArgs& a = *block.head.a;
  const std::int64_t wide = attention_padded(a.head_size, kLanes);
  for (std::int64_t r = r0; r < r0 + kStrip && r < block.rows; ++r) {
    float* to =
        a.dqkv + (block.head.b * a.length + block.i0 + r) * a.width() + block.head.h * a.head_size;
    const float* dq = m.dq + (r - r0) * wide;
    for (std::int64_t d = 0; d < a.head_size; d += kLanes) {
      const std::int64_t left = a.head_size - d;
      const vf x = load(dq + d) * block.scale;
      store_some(to + d, block.j0 == 0 ? x : x + load_some(to + d, left), left);
    }
  }
}

void run_block(const Block& block, const Memory& m) {
  const AttentionArgs& a = *block.head.a;
  const std::int64_t size = a.head_size, wide = attention_padded(size, kLanes);
  const std::int64_t ld = a.heads * size, rows = attention_padded(block.rows, kStrip);
  pack_scaled(block.head.q() + block.i0 * a.width(), a.width(), block.rows, size,
              block.scale * kLog2e, m.q, rows);
  pack_scaled(a.dy + block.head.output() + block.i0 * ld, ld, block.rows, size, 1.0f, m.dy, rows);
  for (std::int64_t r = 0; r < block.rows; r += kStrip) {
    const std::int64_t count = block.seen_by(r + kStrip - 1);
    const std::int64_t padded = attention_padded(count, kLanes);
    float *p = m.probabilities + r * kRow, *ds = m.slopes + r * kRow;
    strip_product({m.q + r * wide, wide, 1}, {m.keys_t, kPanel, size * kPanel}, {p, kRow, false},
                  size, padded);
    strip_product({m.dy + r * wide, wide, 1}, {m.values_t, kPanel, size * kPanel},
                  {ds, kRow, false}, size, padded);
    for (std::int64_t i = r; i < r + kStrip && i < block.rows; ++i) slope_row(block, m, i, padded);
    strip_product({ds, kRow, 1}, {m.keys, wide, kPanel}, {m.dq, wide, false}, count, wide);
    add_queries(block, m, r);
  }
  for (std::int64_t c = 0; c < block.cols; c += kStrip) {
    const std::int64_t above = block.j0 + c - block.i0;
    const std::int64_t first = a.causal && above > 0 ? above : 0;
    if (first >= block.rows) break;
    const std::int64_t depth = block.rows - first;
    strip_product({m.probabilities + first * kRow + c, 1, kRow},
                  {m.dy + first * wide, wide, kPanel}, {m.dv + c * wide, wide, true}, depth, wide);
    strip_product({m.slopes + first * kRow + c, 1, kRow}, {m.q + first * wide, wide, kPanel},
                  {m.dk + c * wide, wide, true}, depth, wide);
  }
}

/// D of every row of the heads that share keys.
void row_dots(const AttentionArgs& a, std::int64_t b, std::int64_t kv, float* dots) {
  for (std::int64_t g = 0; g < a.group(); ++g) {
    const HeadOf head{&a, b, kv * a.group() + g, kv};
    for (std::int64_t i = 0; i < a.length; ++i) {
      const std::int64_t at = head.output() + i * a.heads * a.head_size;
      dots[g * a.length + i] = reduce_sum(a.head_size, [&](std::int64_t d, std::int64_t count) {
        return load_some(a.y + at + d, count) * load_some(a.dy + at + d, count);
      });
    }
  }
}

void write_keys(const AttentionArgs& a, std::int64_t b, std::int64_t kv, std::int64_t j0,
                std::int64_t cols, const Memory& m) {
  const std::int64_t size = a.head_size, wide = attention_padded(size, kLanes);
  for (std::int64_t j = 0; j < cols; ++j) {
    float* k = a.dqkv + (b * a.length + j0 + j) * a.width() + (a.heads + kv) * size;
    float* v = k + a.kv_heads * size;
    for (std::int64_t d = 0; d < size; d += kLanes) {
      store_some(k + d, load(m.dk + j * wide + d) * kLn2, size - d);  // q was scaled by log2(e)
      store_some(v + d, load(m.dv + j * wide + d), size - d);
    }
  }
}

}  // namespace

void attention_grad(const AttentionArgs& a) {
  const Memory m(a.scratch, a.head_size);
  const std::int64_t size = a.head_size, wide = attention_padded(size, kLanes);
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(size));
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t kv = 0; kv < a.kv_heads; ++kv) {
      const HeadOf shared{&a, b, kv * a.group(), kv};
      row_dots(a, b, kv, m.dots);
      for (std::int64_t j0 = 0; j0 < a.length; j0 += kBlock) {
        const std::int64_t cols = a.length - j0 < kBlock ? a.length - j0 : kBlock;
        const float* k = shared.k() + j0 * a.width();
        pack_panels(k, a.width(), cols, size, m.keys_t);
        pack_panels(shared.v() + j0 * a.width(), a.width(), cols, size, m.values_t);
        pack_scaled(k, a.width(), cols, size, 1.0f, m.keys, cols);
        for (std::int64_t i = 0; i < kBlock * wide; i += kLanes) {
          store(m.dk + i, vf{});
          store(m.dv + i, vf{});
        }
        for (std::int64_t g = 0; g < a.group(); ++g) {
          for (std::int64_t i0 = a.causal ? j0 : 0; i0 < a.length; i0 += kBlock) {
            const std::int64_t rows = a.length - i0 < kBlock ? a.length - i0 : kBlock;
            run_block(
                {{&a, b, kv * a.group() + g, kv}, i0, rows, j0, cols, scale, m.dots + g * a.length},
                m);
          }
        }
        write_keys(a, b, kv, j0, cols, m);
      }
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

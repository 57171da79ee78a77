// SPDX-License-Identifier: Apache-2.0
// Small products and exponentials of attention. All operands lie in packed scratch whose columns
// are padded to whole vectors and whose rows come in strips of eight, so no tile has an edge.
#pragma once

#include "backend/cpu/attention.h"
#include "backend/cpu/gemm_pack.h"
#include "backend/cpu/philox.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {

constexpr std::int64_t kStrip = kAttentionStrip;
constexpr std::int64_t kPanel = 2 * kLanes;
constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;
constexpr float kLowest = -1e30f;  // no key seen yet

#ifdef __AVX512F__
constexpr int kTileRows = 8;  // 16 sums: enough for both units, and strips need no remainder
#else
constexpr int kTileRows = 4;
#endif
static_assert(kStrip % kTileRows == 0 && kPanel <= kAttentionPanel);

/// The right side of a product, in panels of kPanel columns.
struct Panels {
  const float* data;
  std::int64_t row;   // from row to row of a panel
  std::int64_t next;  // from panel to panel
};

/// The left side: element (i, k) lies at data[i * row + k * column].
struct Left {
  const float* data;
  std::int64_t row, column;
};

struct Result {
  float* data;
  std::int64_t row;
  bool add;  // to what is there
};

template <int kRows, int kVectors>
DLT_INLINE void tile(const Left& a, const float* b, std::int64_t b_row, const Result& c,
                     std::int64_t depth) {
  vf sums[kRows][kVectors] = {};
  const float* left = a.data;
  for (std::int64_t k = 0; k < depth; ++k) {
    vf columns[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) columns[j] = load(b + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const vf row = set1(left[i * a.row]);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sums[i][j] = fma(row, columns[j], sums[i][j]);
    }
    b += b_row;
    left += a.column;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      float* to = c.data + i * c.row + j * kLanes;
      store(to, c.add ? sums[i][j] + load(to) : sums[i][j]);
    }
  }
}

/// c[8, columns] = a[8, depth] · b[depth, columns]; columns fill whole vectors.
static inline void strip_product(const Left& a, const Panels& b, const Result& c,
                                 std::int64_t depth, std::int64_t columns) {
  const float* panel = b.data;
  std::int64_t j = 0;
  for (; j + kPanel <= columns; j += kPanel, panel += b.next) {
    for (std::int64_t i = 0; i < kStrip; i += kTileRows) {
      tile<kTileRows, 2>({a.data + i * a.row, a.row, a.column}, panel, b.row,
                         {c.data + i * c.row + j, c.row, c.add}, depth);
    }
  }
  if (j < columns) tile<kStrip, 1>(a, panel, b.row, {c.data + j, c.row, c.add}, depth);
}

/// The columns of x [count, ld] as rows of panels: the right side of a product with x transposed.
static inline void pack_panels(const float* x, std::int64_t ld, std::int64_t count,
                               std::int64_t size, float* panels) {
  for (std::int64_t j = 0; j < count; j += kPanel) {
    const std::int64_t columns = count - j < kPanel ? count - j : kPanel;
    pack_transposed(x + j * ld, ld, size, columns, panels + j * size, kPanel);
  }
}

/// y[rows, wide] = factor · x[count, size], zeros elsewhere.
static inline void pack_scaled(const float* x, std::int64_t ld, std::int64_t count,
                               std::int64_t size, float factor, float* y, std::int64_t rows) {
  const std::int64_t wide = attention_padded(size, kLanes);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t d = 0; d < wide; d += kLanes) {
      store(y + i * wide + d, i < count ? load_columns(x + i * ld + d, size - d) * factor : vf{});
    }
  }
}

/// The lanes of vector j .. j + kLanes that lie before `count` and, where there is a mask, at keys
/// that are real.
DLT_INLINE vi seen(std::int64_t j, std::int64_t count, const float* mask) {
  const vi inside = lane_numbers() < set1i(static_cast<std::int32_t>(count - j));
  if (mask == nullptr) return inside;
  return inside & (load_columns(mask + j, count - j) != 0.0f);
}

/// One head of one sample.
struct HeadOf {
  const AttentionArgs* a;
  std::int64_t b, h, kv;

  [[nodiscard]] const float* rows(std::int64_t head) const {
    return a->qkv + b * a->length * a->width() + head * a->head_size;
  }
  [[nodiscard]] const float* q() const { return rows(h); }
  [[nodiscard]] const float* k() const { return rows(a->heads + kv); }
  [[nodiscard]] const float* v() const { return rows(a->heads + a->kv_heads + kv); }
  [[nodiscard]] const float* mask() const {
    return a->mask == nullptr ? nullptr : a->mask + b * a->length;
  }
  /// Of y and dy, whose rows lie heads * head_size apart.
  [[nodiscard]] std::int64_t output() const {
    return (b * a->length * a->heads + h) * a->head_size;
  }
  [[nodiscard]] float* lse() const { return a->lse + (b * a->heads + h) * a->length; }
  /// What dropout multiplies the probabilities of row i by, `count` of them from column j on, a
  /// multiple of 64. Writes whole vectors, at most 4 * kLanes - 1 more than asked for.
  void factors(std::int64_t i, std::int64_t j, std::int64_t count, float* to) const {
    const Stream stream{mix(a->seed ^ mix(a->op)), a->epoch,
                        static_cast<std::uint64_t>(a->sample_ids[b])};
    const vi threshold = set1i(static_cast<std::int32_t>(a->threshold));
    const std::int64_t draws = attention_padded(a->length, 4);
    const std::int64_t first = (h * a->length + i) * draws + j;
    for (std::int64_t c = 0; c < count; c += 4 * kLanes) {
      const Words words = stream.draw(static_cast<std::uint32_t>((first + c) / 4));
      for (std::int64_t w = 0; w < 4; ++w) {
        const vi drop = reinterpret_cast<vi>(words.word[w] >> 8) < threshold;
        store(to + c + w * kLanes, select(drop, vf{}, set1(a->keep_scale)));
      }
    }
  }
};

}  // namespace dlt::cpu::DLT_ISA

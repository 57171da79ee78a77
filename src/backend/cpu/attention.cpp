// SPDX-License-Identifier: Apache-2.0
// Attention, forward: eight rows of queries against the keys before them, kAttentionChunk at a
// time, with a running maximum and sum where there is more than one chunk. Scores are in units of
// log 2. source  Dao et al. 2022, "FlashAttention", arXiv:2205.14135; Milakov & Gimelshein 2018 for
// the running softmax
#include "backend/cpu/attention.h"

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/map.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kChunk = kAttentionChunk;
constexpr std::int64_t kScoreRow = kChunk + kAttentionLanes;

struct Memory {
  float *keys, *values, *q, *scores, *sums, *factors;
  Memory(float* scratch, std::int64_t length, std::int64_t size) {
    const std::int64_t wide = attention_padded(size, kAttentionLanes);
    keys = scratch;
    values = keys + attention_padded(length, kAttentionPanel) * size;
    q = values + length * wide;
    scores = q + kStrip * wide;
    sums = scores + kStrip * kScoreRow;
    factors = sums + kStrip * wide;
  }
};

/// Running softmax of eight rows.
struct Running {
  float largest[kStrip], total[kStrip];
};

float row_largest(const float* scores, std::int64_t count, const float* mask, float start) {
  vf best = set1(start);
  std::int64_t j = 0;
  if (mask == nullptr) {
    for (; j + kLanes <= count; j += kLanes) best = max(best, load(scores + j));
  }
  for (; j < count; j += kLanes) {
    best = max(best, select(seen(j, count, mask), load(scores + j), set1(start)));
  }
  return largest(best);
}

/// scores = 2^(scores - shift) of the keys seen, else 0, up to `padded`; returns their sum.
float row_powers(float* scores, std::int64_t count, std::int64_t padded, const float* mask,
                 float shift) {
  vf sums = {};
  std::int64_t j = 0;
  if (mask == nullptr) {
    for (; j + kLanes <= count; j += kLanes) {
      const vf p = power_of_two(load(scores + j) - shift);
      store(scores + j, p);
      sums += p;
    }
  }
  for (; j < padded; j += kLanes) {
    const vf p = j < count
                     ? select(seen(j, count, mask), power_of_two(load(scores + j) - shift), vf{})
                     : vf{};
    store(scores + j, p);
    sums += p;
  }
  return sum(sums);
}

/// Columns [j0, j0 + count) of the strip that begins at row i0.
void softmax_strip(const HeadOf& head, const Memory& m, std::int64_t i0, std::int64_t j0,
                   std::int64_t count, Running& state) {
  const AttentionArgs& a = *head.a;
  const std::int64_t wide = attention_padded(a.head_size, kLanes);
  const std::int64_t padded = attention_padded(count, kLanes);
  const float* mask = head.mask() == nullptr ? nullptr : head.mask() + j0;
  for (std::int64_t r = 0; r < kStrip; ++r) {
    const std::int64_t before = i0 + r + 1 - j0;
    const std::int64_t valid = a.causal && before < count ? before : count;
    float* scores = m.scores + r * kScoreRow;
    const float largest = row_largest(scores, valid, mask, state.largest[r]);
    const float total = row_powers(scores, valid, padded, mask, largest);
    if (j0 > 0) {
      const float shrink = power_of_two(set1(state.largest[r] - largest))[0];
      state.total[r] = state.total[r] * shrink + total;
      map(m.sums + r * wide, m.sums + r * wide, wide, [shrink](vf x) { return x * shrink; });
    } else {
      state.total[r] = total;
    }
    state.largest[r] = largest;
    if (a.threshold == 0) continue;
    head.factors(i0 + r, j0, valid, m.factors);
    for (std::int64_t j = 0; j < valid; j += kLanes) {
      store(scores + j, load(scores + j) * load(m.factors + j));
    }
  }
}

void write_strip(const HeadOf& head, const Memory& m, std::int64_t i0, const Running& state) {
  const AttentionArgs& a = *head.a;
  const std::int64_t wide = attention_padded(a.head_size, kLanes), ld = a.heads * a.head_size;
  for (std::int64_t r = 0; r < kStrip && i0 + r < a.length; ++r) {
    // A row that sees no key is zero, and so is its derivative.
    const bool any = state.largest[r] != kLowest;
    const float factor = any ? 1.0f / state.total[r] : 0.0f;
    float* y = a.y + head.output() + (i0 + r) * ld;
    for (std::int64_t d = 0; d < a.head_size; d += kLanes) {
      store_some(y + d, load(m.sums + r * wide + d) * factor, a.head_size - d);
    }
    const float logarithm = kLn2 * state.largest[r] + log(set1(state.total[r]))[0];
    head.lse()[i0 + r] = any ? logarithm : -kInfinity;
  }
}

void attend(const HeadOf& head, const Memory& m) {
  const AttentionArgs& a = *head.a;
  const std::int64_t size = a.head_size, wide = attention_padded(size, kLanes);
  const float scale = kLog2e / __builtin_sqrtf(static_cast<float>(size));
  for (std::int64_t i0 = 0; i0 < a.length; i0 += kStrip) {
    const std::int64_t end = i0 + kStrip < a.length ? i0 + kStrip : a.length;
    pack_scaled(head.q() + i0 * a.width(), a.width(), end - i0, size, scale, m.q, kStrip);
    Running state;
    for (float& largest : state.largest) largest = kLowest;
    const std::int64_t limit = a.causal ? end : a.length;
    for (std::int64_t j0 = 0; j0 < limit; j0 += kChunk) {
      const std::int64_t count = limit - j0 < kChunk ? limit - j0 : kChunk;
      strip_product({m.q, wide, 1}, {m.keys + j0 * size, kPanel, size * kPanel},
                    {m.scores, kScoreRow, false}, size, attention_padded(count, kLanes));
      softmax_strip(head, m, i0, j0, count, state);
      strip_product({m.scores, kScoreRow, 1}, {m.values + j0 * wide, wide, kPanel},
                    {m.sums, wide, j0 > 0}, count, wide);
    }
    write_strip(head, m, i0, state);
  }
}

}  // namespace

void attention(const AttentionArgs& a) {
  const Memory m(a.scratch, a.length, a.head_size);
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t kv = 0; kv < a.kv_heads; ++kv) {
      const HeadOf shared{&a, b, kv * a.group(), kv};
      pack_panels(shared.k(), a.width(), a.length, a.head_size, m.keys);
      pack_scaled(shared.v(), a.width(), a.length, a.head_size, 1.0f, m.values, a.length);
      for (std::int64_t g = 0; g < a.group(); ++g) attend({&a, b, kv * a.group() + g, kv}, m);
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA

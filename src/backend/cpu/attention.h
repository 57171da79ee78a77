// SPDX-License-Identifier: Apache-2.0
// What the routines of attention get (docs/ops.md has the op): plain numbers and pointers.
#pragma once

#include <cstdint>

namespace dlt::cpu {

struct AttentionArgs {
  std::int64_t batch = 0, length = 0, heads = 0, kv_heads = 0, head_size = 0;
  bool causal = false;
  const float* qkv = nullptr;   // [batch, length, (heads + 2 kv_heads) head_size]
  const float* mask = nullptr;  // [batch, length], or null: every key is real
  // attention writes y and lse, attention_grad reads them.
  float* y = nullptr;    // [batch, length, heads head_size]
  float* lse = nullptr;  // [batch, heads, length]
  const float* dy = nullptr;
  float* dqkv = nullptr;
  float* scratch = nullptr;  // 64-byte aligned
  // Dropout of the probabilities, off where threshold is 0.
  std::uint32_t threshold = 0;  // keeps a 24-bit number that is at least this
  float keep_scale = 1;
  std::uint64_t op = 0, seed = 0, epoch = 0;
  const std::int64_t* sample_ids = nullptr;

  [[nodiscard]] std::int64_t width() const { return (heads + 2 * kv_heads) * head_size; }
  [[nodiscard]] std::int64_t group() const { return heads / kv_heads; }
};

constexpr std::int64_t kAttentionStrip = 8;    // rows of queries at a time
constexpr std::int64_t kAttentionChunk = 512;  // keys at a time, forward
constexpr std::int64_t kAttentionBlock = 64;   // queries and keys at a time, backward
constexpr std::int64_t kAttentionLanes = 16;   // widest vector; rows in scratch are that padded
constexpr std::int64_t kAttentionPanel = 32;   // widest panel of keys

static constexpr std::int64_t attention_padded(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

/// Keys and values of one head, and one strip.
static constexpr std::int64_t attention_scratch_floats(std::int64_t length,
                                                       std::int64_t head_size) {
  const std::int64_t wide = attention_padded(head_size, kAttentionLanes);
  return attention_padded(length, kAttentionPanel) * head_size + length * wide +
         kAttentionStrip * (2 * wide + kAttentionChunk + kAttentionLanes) + kAttentionChunk;
}

/// One block of everything, and a number for each row of the heads that share keys.
static constexpr std::int64_t attention_grad_scratch_floats(std::int64_t length,
                                                            std::int64_t head_size,
                                                            std::int64_t group) {
  const std::int64_t wide = attention_padded(head_size, kAttentionLanes);
  return kAttentionBlock * (2 * head_size + 5 * wide + 2 * (kAttentionBlock + kAttentionLanes)) +
         kAttentionStrip * wide + kAttentionBlock +
         attention_padded(group * length, kAttentionLanes);
}

namespace avx2 {
void attention(const AttentionArgs& a);
void attention_grad(const AttentionArgs& a);
}  // namespace avx2
namespace avx512 {
void attention(const AttentionArgs& a);
void attention_grad(const AttentionArgs& a);
}  // namespace avx512

}  // namespace dlt::cpu

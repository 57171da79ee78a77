// SPDX-License-Identifier: Apache-2.0
// Device code that attention and its derivative share: one head of one sample, and what it sees.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "backend/cuda/device.h"
#include "base/rng.h"
#include "tensor/kernel.h"

namespace dlt::cuda {

/// The largest head that tiles are made for.
inline constexpr std::int64_t kMaxHeadSize = 256;

struct AttentionForm {
  std::int64_t batch = 0, length = 0, heads = 0, kv_heads = 0, head_size = 0;
  std::int64_t row_draws = 0;   // random numbers of a row of probabilities
  std::uint64_t op = 0;         // whose random numbers
  std::uint32_t threshold = 0;  // dropout keeps a 24-bit number that is at least this
  float keep_scale = 1.0f;      // what it multiplies those with
  float scale = 1.0f;           // of scores
  bool causal = false;

  [[nodiscard]] std::int64_t width() const { return (heads + 2 * kv_heads) * head_size; }
};

/// None if the tiles cannot serve it.
[[nodiscard]] std::optional<AttentionForm> attention_form(const tensor::KernelSpec& spec);

/// In device memory. mask and, without dropout, run may be null.
struct AttentionInputs {
  const float* qkv = nullptr;   // [batch, length, width]
  const float* mask = nullptr;  // [batch, length]
  const tensor::DeviceRun* run = nullptr;
};

/// One head of the queries of a sample with the keys and values it reads.
struct AttentionHead {
  const float *q, *k, *v;  // rows lie `stride` apart
  std::int64_t stride;
  const float* mask;
  rng::Key key;
  std::int64_t first_draw;

  __device__ AttentionHead(const AttentionForm& form, const AttentionInputs& in, std::int64_t b,
                           std::int64_t h)
      : stride((form.heads + 2 * form.kv_heads) * form.head_size),
        mask(in.mask == nullptr ? nullptr : in.mask + b * form.length),
        first_draw(h * form.length * form.row_draws) {
    const std::int64_t group = h / (form.heads / form.kv_heads);
    const float* row = in.qkv + b * form.length * stride;
    q = row + h * form.head_size;
    k = row + (form.heads + group) * form.head_size;
    v = row + (form.heads + form.kv_heads + group) * form.head_size;
    if (form.threshold == 0) return;
    key = {in.run->seed, form.op, in.run->epoch, static_cast<std::uint64_t>(in.run->sample_ids[b])};
  }

  [[nodiscard]] __device__ bool sees(const AttentionForm& form, std::int64_t i,
                                     std::int64_t j) const {
    return i < form.length && j < form.length && (!form.causal || j <= i) &&
           (mask == nullptr || mask[j] != 0.0f);
  }
  /// The four random words of probabilities (i, j - j % 4) and the three behind it.
  [[nodiscard]] __device__ std::array<std::uint32_t, 4> words(const AttentionForm& form,
                                                              std::int64_t i,
                                                              std::int64_t j) const {
    return rng::block(key, static_cast<std::uint32_t>((first_draw + i * form.row_draws + j) / 4));
  }
};

/// What dropout multiplies the probabilities of query i and kCount keys from j on with; kCount
/// divides 4 and j. Only with dropout.
template <int kCount>
__device__ void dropout_factors(const AttentionForm& form, const AttentionHead& head,
                                std::int64_t i, std::int64_t j, float (&factors)[kCount]) {
  const auto at = static_cast<int>(j % 4);
  const std::array<std::uint32_t, 4> words = head.words(form, i, j);
#pragma unroll
  for (int u = 0; u < kCount; ++u) {
    const int which = at + u;  // selected, since registers have no index
    const std::uint32_t word = which == 0   ? words[0]
                               : which == 1 ? words[1]
                               : which == 2 ? words[2]
                                            : words[3];
    factors[u] = (word >> 8) >= form.threshold ? form.keep_scale : 0.0f;
  }
}

}  // namespace dlt::cuda

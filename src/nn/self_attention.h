// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "nn/layer.h"

namespace dlt::nn {

struct SelfAttentionOptions {
  std::string prefix = {};  // of the parameters' names: "", "attention."
  std::int64_t heads = 1;
  std::optional<std::int64_t> head_size;  // default: C / heads
  std::optional<std::int64_t> kv_heads;   // default: heads
  bool causal = false;
  double dropout = 0;                // of the probabilities
  std::optional<double> rope_theta;  // rotary embedding of queries and keys
  bool use_bias = true;
  Init kernel_init = {};
  double out_scale = 1;  // of the start of the last projection
};

/// Reads heads, head_size, kv_heads, causal, rope, use_bias and kernel_init.
[[nodiscard]] SelfAttentionOptions read_self_attention(config::MapReader& options);

/// Projection to queries, keys and values, attention, projection back to C. Honours context.mask.
/// shapes  x [B, T, C]; qkv.weight [C, (heads + 2 kv_heads) head_size]: queries, keys, values;
///         out.weight [heads head_size, C]
/// source  Vaswani et al. 2017; Ainslie et al. 2023, arXiv:2305.13245, for kv_heads < heads
[[nodiscard]] autodiff::ValueId self_attention(BuildContext& context, autodiff::ValueId x,
                                               const SelfAttentionOptions& options);

}  // namespace dlt::nn

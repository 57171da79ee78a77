// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nn/registry.h"
#include "nn/self_attention.h"

namespace dlt::nn {
namespace {

/// Self-attention of a sequence [B, T, C].
class MultiHeadAttention final : public Layer {
 public:
  explicit MultiHeadAttention(SelfAttentionOptions options) : options_(std::move(options)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    return self_attention(context, x, options_);
  }

 private:
  SelfAttentionOptions options_;
};

}  // namespace

std::unique_ptr<Layer> make_multi_head_attention(config::MapReader& options) {
  SelfAttentionOptions attention = read_self_attention(options);
  attention.dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.0);
  return std::make_unique<MultiHeadAttention>(std::move(attention));
}

}  // namespace dlt::nn

// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Token ids to rows of a table. mask_zero: id 0 is padding.
/// shapes  x i32 [B, ...], weight [input_dim, output_dim], result [B, ..., output_dim]
class Embedding final : public Layer {
 public:
  Embedding(std::int64_t tokens, std::int64_t size, const Init& init, bool mask_zero)
      : tokens_(tokens), size_(size), init_(init), mask_zero_(mask_zero) {}

  [[nodiscard]] std::int64_t num_tokens() const override { return tokens_; }

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    autodiff::Graph& graph = context.graph;
    if (graph.value(x).type.dtype != DType::i32) {
      refuse_input(context, x, "token ids", "an embedding is the first layer of a model");
    }
    Init init = init_;
    init.fan_in = static_cast<double>(tokens_);
    init.fan_out = static_cast<double>(size_);
    const autodiff::ValueId weight = context.param("weight", {tokens_, size_}, init);
    if (mask_zero_) {
      if (graph.shape(x).rank() != 2) {
        refuse_input(context, x, "sequences [T] of token ids for mask_zero");
      }
      context.mask = graph.add_one("token_mask", {x});
    }
    return graph.add_one("embedding", {x, weight});
  }

 private:
  std::int64_t tokens_, size_;
  Init init_;
  bool mask_zero_;
};

}  // namespace

std::unique_ptr<Layer> make_embedding(config::MapReader& options) {
  const std::int64_t tokens = options.integer("input_dim", {.min = 1, .max = INT32_MAX});
  const std::int64_t size = options.integer("output_dim", {.min = 1, .max = INT32_MAX});
  Init fallback{.kind = InitKind::normal, .stddev = 0.02};
  const Init init = read_init(options, "embeddings_init", fallback);
  const bool mask_zero = options.boolean("mask_zero", false);
  return std::make_unique<Embedding>(tokens, size, init, mask_zero);
}

}  // namespace dlt::nn
